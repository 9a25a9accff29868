//! The inspector as its users meet it: the library, the server, the program, and the page.

mod browser;
mod contents;
mod program;
mod server;
mod support;
mod watching;

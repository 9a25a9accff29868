//! Plugins that are loaded, can veto commands, are paused, and are unloaded while commands run.

use std::cell::Cell;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use topic_registry::{JoinError, JoinGuard, SyncRegistry};

struct Command {
    text: &'static str,
    /// Set by the plugin that refuses the command.
    refused: Cell<Option<&'static str>>,
}

/// The library of a plugin, which must not be closed while one of its calls runs.
struct Library(&'static str);

impl Drop for Library {
    fn drop(&mut self) {
        println!("  (the library of {} is closed)", self.0);
    }
}

struct Plugin {
    guards: Vec<JoinGuard>,
}

impl Plugin {
    fn load_guardian(commands: &SyncRegistry<Command>) -> Self {
        let library = Arc::new(Library("guardian"));
        let veto =
            commands.options().priority(10).joinable().register_interceptor(move |command| {
                if command.text.starts_with("delete") {
                    command.refused.set(Some(library.0));
                    return Break(());
                }
                Continue(())
            });
        Self { guards: vec![veto] }
    }

    fn load_history(commands: &SyncRegistry<Command>) -> Self {
        let library = Arc::new(Library("history"));
        let shared = Arc::clone(&library);
        let write = move |command: &Command| println!("  {}: {}", shared.0, command.text);
        let count = move |_: &Command| println!("  {}: one more", library.0);
        let options = || commands.options().joinable();
        Self {
            guards: vec![
                options().register(write),
                options().priority(-1).register(count),
            ],
        }
    }

    /// Removes all handlers, then waits until no call is inside one of them and the library is
    /// closed.
    fn unload(self) -> Result<(), JoinError> {
        JoinGuard::join_all(self.guards)
    }
}

fn run(commands: &SyncRegistry<Command>, text: &'static str) {
    println!("{text}");
    let command = Command {
        text,
        refused: Cell::new(None),
    };
    let delivery = commands.notify(&command);
    match command.refused.get() {
        Some(by) => println!("  refused by {by}"),
        None => println!("  done, {} handlers called", delivery.called()),
    }
}

fn main() -> Result<(), JoinError> {
    let commands = SyncRegistry::<Command>::new();
    let guardian = Plugin::load_guardian(&commands);
    let history = Plugin::load_history(&commands);
    run(&commands, "open report");
    run(&commands, "delete report");

    println!("the guardian is paused:");
    let paused: Vec<_> = guardian.guards.iter().map(|guard| commands.pause(guard.id())).collect();
    run(&commands, "delete draft");
    drop(paused);
    run(&commands, "delete report");

    println!("both are unloaded:");
    guardian.unload()?;
    history.unload()?;
    run(&commands, "delete report");
    Ok(())
}

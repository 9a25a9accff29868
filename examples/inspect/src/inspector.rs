//! [`Inspector`]: what is watched, and where it is served.

use std::fmt::{self, Debug, Display};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use topic_registry::{Flavor, Key, Topics, WeakTopics};

use crate::hosts::Hosts;
use crate::reports::Reports;
use crate::sampler::{self, Watch};
use crate::server::{Server, Site};
use crate::watched::{self, Watched};

/// Serves a page that shows topics while the program runs.
///
/// It holds weak references only. Nothing is read while nobody looks.
///
/// ```
/// use topic_registry::{SyncRegistry, TopicRegistry};
/// use topic_registry_inspect::Inspector;
///
/// let bus = TopicRegistry::<String, str>::new();
/// let exit = SyncRegistry::<i32>::new();
/// let inspector = Inspector::new().watch("bus", &bus).watch("exit", &exit);
/// let guard = inspector.serve("127.0.0.1:0")?; // of 0, the system chooses the port
/// println!("see {}", guard.url());
/// # Ok::<(), topic_registry_inspect::Error>(())
/// ```
#[derive(Default)]
#[must_use = "it does nothing until it serves: call `serve`"]
pub struct Inspector {
    watch: Watch,
    hosts: Hosts,
    is_exposed: bool,
}

/// Serves the page until it is dropped.
#[must_use = "dropping it ends the server at once: bind it, `let guard = ...`"]
pub struct InspectorGuard {
    address: SocketAddr,
    // Dropped to end the server.
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

/// Why an inspector does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none, or its name is unknown.
    #[error("{given:?} is no address such as 127.0.0.1:6670: {why}")]
    NotAnAddress {
        /// What was given.
        given: String,
        /// What is wrong.
        #[source]
        why: io::Error,
    },
    /// The address can be reached from other machines.
    #[error(
        "{0} can be reached from other machines: take 127.0.0.1, or call `expose_to_network` first"
    )]
    NotLoopback(SocketAddr),
    /// Another program, or another inspector, listens there.
    #[error("{0} is taken: choose another port, or 0 for any that is free")]
    Taken(SocketAddr),
    /// The system does not let it listen there.
    #[error("cannot listen at {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        why: io::Error,
    },
    /// The system does not let it start its two threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Inspector {
    /// Creates an inspector that watches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches topics, or a single registry, under a name. Keys are shown by their `Debug`, but
    /// text as it is.
    pub fn watch(mut self, name: impl Into<String>, watched: &impl Watched) -> Self {
        self.watch.names.push(name.into());
        self.watch.sources.0.push(watched.source());
        self
    }

    /// Watches topics under a name, with a function that turns keys into text. Keys of the same
    /// text are shown as one topic.
    ///
    /// ```
    /// use std::path::PathBuf;
    /// use topic_registry::TopicRegistry;
    /// use topic_registry_inspect::Inspector;
    ///
    /// let files = TopicRegistry::<PathBuf, str>::new();
    /// let show = |path: &PathBuf| path.display().to_string();
    /// let inspector = Inspector::new().watch_by("files", &files, show);
    /// # let _ = inspector;
    /// ```
    pub fn watch_by<F, K, E>(
        mut self,
        name: impl Into<String>,
        topics: &Topics<F, K, E>,
        show: impl Fn(&K) -> String + Send + 'static,
    ) -> Self
    where
        F: Flavor<E>,
        K: Key,
        E: ?Sized + 'static,
        WeakTopics<F, K, E>: Send,
    {
        self.watch.names.push(name.into());
        self.watch.sources.0.push(watched::topics(topics, show));
        self
    }

    /// Shows the last panics and slow calls, under the name of what they happen in.
    pub fn reports(mut self, name: impl Into<String>, reports: &Reports) -> Self {
        self.watch.reports.push((name.into(), reports.clone()));
        self
    }

    /// Lets it serve at addresses that other machines can reach. Everybody who can reach it can
    /// read keys, names and messages: there is no password and no encryption. To look at another
    /// machine, rather forward a port: `ssh -L 6670:127.0.0.1:6670 machine`.
    pub fn expose_to_network(mut self) -> Self {
        self.is_exposed = true;
        self.hosts.any_address = true;
        self
    }

    /// Serves requests that ask for a host by this name, too. By default, only `localhost` and
    /// addresses are served: a web page could have its own name lead here.
    pub fn allow_host(mut self, name: &str) -> Self {
        self.hosts.names.push(name.to_ascii_lowercase());
        self
    }

    /// Serves the page and the JSON until the guard is dropped.
    ///
    /// Starts two threads: one serves the connections, and one looks at the topics, when it is
    /// asked to.
    ///
    /// # Errors
    ///
    /// If the address is none, is not of this machine alone, or is taken; or if a thread cannot be
    /// started.
    pub fn serve(self, address: impl Display) -> Result<InspectorGuard, Error> {
        let given = address.to_string();
        let addresses: Vec<_> = match given.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(why) => return Err(Error::NotAnAddress { given, why }),
        };
        let is_reachable = |address: &&SocketAddr| !address.ip().is_loopback();
        match addresses.iter().find(is_reachable) {
            Some(address) if !self.is_exposed => return Err(Error::NotLoopback(*address)),
            _ => {}
        }
        let listener = listen(given, &addresses)?;
        let address = listener.local_addr().map_err(Error::Thread)?;
        let asker = sampler::start(self.watch).map_err(Error::Thread)?;
        let hosts = self.hosts;
        let server = Server::new(listener, Site { asker, hosts }).map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("topic-registry-inspect".into());
        let server = thread.spawn(move || server.run(stopped)).map_err(Error::Thread)?;
        Ok(InspectorGuard {
            address,
            stop: Some(stop),
            server: Some(server),
        })
    }
}

/// Listens at the first address that lets it. Returns the error of the last one.
fn listen(given: String, addresses: &[SocketAddr]) -> Result<TcpListener, Error> {
    let why = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    let mut error = Error::NotAnAddress { given, why };
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse => error = Error::Taken(*address),
            Err(why) => {
                let address = *address;
                error = Error::Listen { address, why };
            }
        }
    }
    Err(error)
}

impl InspectorGuard {
    /// Returns the address that it serves, with its port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address as a browser takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves as long as the program runs.
    pub fn forget(mut self) {
        // Not dropped, and so never told to stop.
        std::mem::forget(self.stop.take());
        self.server = None;
    }
}

/// Ends the server. The address is free when this returns. If the program holds up the thread that
/// looks at the topics, that one ends later.
impl Drop for InspectorGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            // It has no panics of its own to tell of.
            let _ = server.join();
        }
    }
}

impl Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector")
            .field("watched", &self.watch.names)
            .finish_non_exhaustive()
    }
}

impl Debug for InspectorGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectorGuard")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

//! What else one could take, from the closest crate down to a loop over closures.

use std::fmt;
use std::sync::RwLock;

use signals2::{Connect1, Emit1, Signal};
use tokio::sync::broadcast;

use crate::mix::{Mix, Mixed, Register};
use crate::{Churn, Notify, Shared, Subject, fill, handler};

/// `registry-io`, not behind the `Arc` that sharing it takes: at its best.
pub type RegistryIo = registry_io::SyncRegistry<u64>;

/// `signals2`.
pub struct Signals(Signal<(u64,)>);

/// `tokio::sync::broadcast`: an event is sent, and each handler has a receiver, which is
/// drained here. It copes with receivers on other threads, and pays for that.
pub struct Broadcast {
    sender: broadcast::Sender<u64>,
    receivers: Vec<(broadcast::Receiver<u64>, Closure)>,
}

/// Closures behind a lock, which is held while they run.
pub struct LockedVec(RwLock<Vec<Closure>>);

/// A loop over closures: the floor.
pub struct BareVec(Vec<Closure>);

type Closure = Box<dyn Fn(&u64) + Send + Sync>;

impl Shared for RegistryIo {
    type Answer = ();

    #[inline(always)]
    fn call_shared(&self, event: &u64) {
        self.notify(event);
    }
}

impl Subject for RegistryIo {
    fn with_handlers(handlers: u64) -> Self {
        Self::mixed(Mix::OneType, handlers)
    }
}

impl Register for &RegistryIo {
    fn register(&mut self, priority: i32, handler: impl Fn(&u64) + Send + Sync + 'static) {
        self.register_with_priority(priority, handler);
    }
}

impl Mixed for RegistryIo {
    fn mixed(mix: Mix, handlers: u64) -> Self {
        let registry = Self::new();
        mix.fill(handlers, &mut &registry);
        registry
    }
}

impl Churn for RegistryIo {
    fn churn(&mut self, priority: i32) {
        let id = self.register_with_priority(priority, handler(0));
        self.unregister(id);
    }
}

pub(crate) fn fill_theirs(mut registry: &RegistryIo, handlers: u64) {
    Mix::OneType.fill(handlers, &mut registry);
}

impl Shared for Signals {
    type Answer = Option<()>;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Option<()> {
        self.0.emit(*event)
    }
}

impl Subject for Signals {
    fn with_handlers(handlers: u64) -> Self {
        let signal = Signal::new();
        fill(handlers, |_, n| {
            let handler = handler(n);
            signal.connect(move |event: u64| handler(&event));
        });
        Self(signal)
    }
}

impl Notify for Broadcast {
    type Answer = usize;

    #[inline(always)]
    fn call(&mut self, event: &u64) -> usize {
        let sent = self.sender.send(*event);
        for (receiver, handler) in &mut self.receivers {
            while let Ok(event) = receiver.try_recv() {
                handler(&event);
            }
        }
        sent.unwrap_or(0)
    }
}

impl Subject for Broadcast {
    fn with_handlers(handlers: u64) -> Self {
        let sender = broadcast::Sender::new(16);
        let receivers = closures(Mix::OneType, handlers).into_iter();
        Self {
            receivers: receivers.map(|f| (sender.subscribe(), f)).collect(),
            sender,
        }
    }
}

impl Shared for LockedVec {
    type Answer = ();

    #[inline(always)]
    fn call_shared(&self, event: &u64) {
        if let Ok(closures) = self.0.read() {
            closures.iter().for_each(|closure| closure(event));
        }
    }
}

impl Subject for LockedVec {
    fn with_handlers(handlers: u64) -> Self {
        Self(RwLock::new(closures(Mix::OneType, handlers)))
    }
}

impl Shared for BareVec {
    type Answer = ();

    #[inline(always)]
    fn call_shared(&self, event: &u64) {
        self.0.iter().for_each(|closure| closure(event));
    }
}

impl Subject for BareVec {
    fn with_handlers(handlers: u64) -> Self {
        Self::mixed(Mix::OneType, handlers)
    }
}

impl Register for Vec<Closure> {
    fn register(&mut self, _: i32, handler: impl Fn(&u64) + Send + Sync + 'static) {
        self.push(Box::new(handler));
    }
}

impl Mixed for BareVec {
    fn mixed(mix: Mix, handlers: u64) -> Self {
        Self(closures(mix, handlers))
    }
}

fn closures(mix: Mix, handlers: u64) -> Vec<Closure> {
    let mut closures = Vec::new();
    mix.fill(handlers, &mut closures);
    closures
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.0.count()).finish()
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.receivers.len();
        f.debug_tuple("Broadcast").field(&handlers).finish()
    }
}

impl fmt::Debug for LockedVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedVec").finish_non_exhaustive()
    }
}

impl fmt::Debug for BareVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BareVec").field(&self.0.len()).finish()
    }
}

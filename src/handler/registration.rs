//! [`Registration`]: a handler and its registry, for whatever ends with the handler.

use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};

use crate::report::id::HandlerId;

/// A handler and its registry, of any type.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) id: HandlerId,
    // `None` in a guard that was forgotten.
    pub(crate) registry: Option<Weak<dyn Handlers>>,
}

/// The handlers of a registry, by their ids. These take the caller's reference, because a topic
/// exists as long as it has an owner.
pub(crate) trait Handlers: Send + Sync + RefUnwindSafe {
    /// Removes the handler, and the topic if that handler was the last one.
    fn remove(self: Arc<Self>, id: HandlerId) -> bool;

    /// Pauses the handler. Returns whether it is registered.
    fn pause(self: Arc<Self>, id: HandlerId) -> bool;

    /// Takes back one pause of the handler.
    fn resume(self: Arc<Self>, id: HandlerId);
}

impl Registration {
    /// Removes the handler. Returns whether this call removed it.
    pub(crate) fn remove(&self) -> bool {
        self.registry().is_some_and(|registry| registry.remove(self.id))
    }

    /// Pauses the handler. Returns whether it is registered.
    pub(crate) fn pause(&self) -> bool {
        self.registry().is_some_and(|registry| registry.pause(self.id))
    }

    /// Takes back one pause of the handler, if it is still registered.
    pub(crate) fn resume(&self) {
        if let Some(registry) = self.registry() {
            registry.resume(self.id);
        }
    }

    fn registry(&self) -> Option<Arc<dyn Handlers>> {
        self.registry.as_ref()?.upgrade()
    }
}

//! [`Registration`]: a handler and its registry, for whatever ends with the handler.

use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};

use crate::report::id::HandlerId;

/// A handler and its registry, or an observer and the topics that it observes, of any type.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) id: HandlerId,
    // `None` in a guard that was forgotten.
    pub(crate) registry: Option<Weak<dyn Remove>>,
}

/// The registry or the topics that a registration refers to.
pub(crate) trait Remove: Send + Sync + RefUnwindSafe {
    /// Removes the handler (and the topic, if that handler was the last one), or the observer.
    /// Takes the caller's reference, because a topic exists as long as it has an owner.
    fn remove(self: Arc<Self>, id: HandlerId) -> bool;
}

/// The registry of a paused handler.
pub(crate) trait Resume: Send + Sync + RefUnwindSafe {
    /// Takes back one pause of the handler.
    fn resume(self: Arc<Self>, id: HandlerId);
}

impl Registration {
    /// Removes the handler. Returns whether this call removed it.
    pub(crate) fn remove(&self) -> bool {
        let registry = self.registry.as_ref().and_then(Weak::upgrade);
        registry.is_some_and(|registry| registry.remove(self.id))
    }
}

//! Where handlers report panics and slow calls, and registries the number of handlers. It lives as
//! long as a handler does, even if the registry is gone.

use std::any::Any;
use std::mem;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::report::id::HandlerInfo;
use crate::report::monitor::PanicMonitor;
use crate::report::panic::{
    PanicInfo, PanicOrigin, Payload, Registrant, catch, count_and_drop, drop_payload,
};
use crate::report::reporting::{Report, Reporting};

/// The state that the handlers of a registry share, and that lives as long as one of them does: the
/// monitor that their panics are reported to, and the topic they belong to.
pub(crate) struct Scope<T: Parent + ?Sized = dyn Parent> {
    pub(crate) monitor: PanicMonitor<Box<dyn Fn(&PanicInfo<'_>) + Send + Sync>>,
    pub(crate) parent: T,
}

/// The topic that a registry serves; `()` if it serves none.
pub(crate) trait Parent: Reports + LifeCycle {}

impl<T: Reports + LifeCycle> Parent for T {}

/// What is reported to a parent.
pub(crate) trait Reports: Send + Sync {
    /// Counts a panic for all topics.
    fn count_panic(&self);

    /// Returns a weak reference to all topics, for what may outlive this one.
    fn topics(&self) -> Weak<dyn CountPanic>;

    /// Reports a panic to the callback of all topics, and to `tracing`. `count` counts a panic of a
    /// subscriber for the registry.
    fn report_panic(&self, info: &PanicInfo<'_>, count: &dyn Fn());

    /// Returns the time from which on a call is slow, if slow calls are to be reported.
    fn slow_limit(&self) -> Option<Duration>;

    /// Reports a slow call of a handler.
    fn report_slow(&self, info: &HandlerInfo, time: Duration);

    /// Returns whether the calls of each handler are counted.
    fn counts_calls(&self) -> bool;
}

/// What a parent does when handlers and owners come and go.
pub(crate) trait LifeCycle {
    /// Notes a change of the number of handlers, and [counts](Self::count_handlers) it. Called
    /// under the writer lock.
    fn length_changed_locked(&self, from: usize, to: usize);

    /// Counts a change of the number of handlers for the metrics. Called when a registry is dropped
    /// with handlers.
    fn count_handlers(&self, from: usize, to: usize);

    /// Reports what was counted for the metrics. Called after the lock was released, before any
    /// other user code.
    fn tell_numbers(&self);

    /// Reports a change of the number of handlers to observers. Called by an owner after the
    /// removed handlers were dropped.
    fn length_changed(&self, from: usize, to: usize);

    /// Removes the topic if it is idle. Called after its last owner was dropped.
    fn prune(&self);

    /// Waits until all look-ups of this topic that have begun have ended.
    fn wait_for_lookups(&self);
}

// Every panic is caught before it could leave this inconsistent.
impl<T: Parent + ?Sized> RefUnwindSafe for Scope<T> {}

impl<T: Parent> Scope<T> {
    pub(crate) fn new(parent: T) -> Self {
        Self {
            monitor: PanicMonitor::new(),
            parent,
        }
    }
}

impl<T: Parent + ?Sized> Scope<T> {
    /// Counts and reports a panic, then drops its payload. If that drop panics too, it counts as
    /// another panic; its payload is leaked, because its destructor might panic as well.
    #[cold]
    pub(crate) fn report(
        &self,
        registrant: Registrant,
        name: Option<&str>,
        origin: PanicOrigin,
        payload: Payload,
    ) {
        self.report_once(registrant, name, origin, &*payload);
        if let Some(second) = drop_payload(payload) {
            self.report_once(registrant, name, PanicOrigin::Destructor, &*second);
            mem::forget(second);
        }
    }

    fn count_panic(&self) {
        self.monitor.add();
        self.parent.count_panic();
    }

    fn report_once(
        &self,
        registrant: Registrant,
        name: Option<&str>,
        origin: PanicOrigin,
        payload: &(dyn Any + Send),
    ) {
        self.count_panic();
        let Some(_reporting) = Reporting::begin(Report::Panic) else {
            return;
        };
        let info = PanicInfo::new(registrant, name, origin, payload);
        let thrown = self.monitor.call(|callback| callback(&info));
        count_and_drop(thrown, || self.count_panic());
        self.parent.report_panic(&info, &|| self.monitor.add());
    }

    /// Reports a slow call of a handler.
    pub(crate) fn report_slow(&self, info: &HandlerInfo, time: Duration) {
        if let Some(_reporting) = Reporting::begin(Report::SlowCall) {
            self.parent.report_slow(info, time);
        }
    }
}

/// Where a part of a handler that may outlive it reports the panics of other user code, such as
/// wakers. All references are weak: the scope owns the `on_panic` callback, which may own that
/// part.
pub(crate) struct Reporter {
    scope: Weak<Scope>,
    topics: Weak<dyn CountPanic>,
    registrant: Registrant,
}

/// All topics of the handler, which count a panic if the topic is gone.
pub(crate) trait CountPanic: Send + Sync {
    fn count_panic(&self);
}

impl CountPanic for () {
    fn count_panic(&self) {}
}

impl Reporter {
    pub(crate) fn new(scope: &Arc<Scope>, registrant: Registrant) -> Self {
        Self {
            scope: Arc::downgrade(scope),
            topics: scope.parent.topics(),
            registrant,
        }
    }

    /// Returns the scope, to be kept while what may be its last handler is removed.
    pub(crate) fn scope(&self) -> Option<Arc<Scope>> {
        self.scope.upgrade()
    }

    /// Runs `f`, which may be user code, and reports its panic. If the topic is gone, the panic is
    /// counted for all topics.
    pub(crate) fn guard(&self, origin: PanicOrigin, f: impl FnOnce()) {
        let Err(payload) = catch(f) else { return };
        if let Some(scope) = self.scope() {
            return scope.report(self.registrant, None, origin, payload);
        }
        let topics = self.topics.upgrade();
        count_and_drop([payload], || {
            if let Some(topics) = &topics {
                topics.count_panic();
            }
        });
    }
}

impl<T: Parent + ?Sized> Drop for Scope<T> {
    fn drop(&mut self) {
        let outcome = self.monitor.clear();
        count_and_drop(outcome.err(), || self.count_panic());
    }
}

//! [`Counted`]: a counted reference to a handler, by the handler's own address.
//!
//! An `Arc` of a trait object has the address of its counts. Where the object lies behind them
//! depends on its alignment, so a call would first load that from the vtable, and compute. Without
//! the feature `fast-lane`, it is a plain `Arc`.
//!
//! [`in_run`] gives access to the handlers of a run as what they are: by one virtual call for all
//! of them. Without the feature, no two handlers are alike, and so a run has only one.

#[cfg(feature = "fast-lane")]
use by_address::are_alike;
#[cfg(feature = "fast-lane")]
pub(crate) use by_address::{Counted, counted, in_run};
#[cfg(not(feature = "fast-lane"))]
use plain::are_alike;
#[cfg(not(feature = "fast-lane"))]
pub(crate) use plain::{Counted, counted, in_run};

use crate::handler::Handler;
use crate::snapshot::list::{Rank, Ranked};

impl<H: Handler + ?Sized> Ranked for Counted<H> {
    fn rank(&self) -> Rank {
        self.header().id().rank()
    }

    fn is_interceptor(&self) -> bool {
        self.header().is_interceptor()
    }

    fn is_alike(&self, other: &Self) -> bool {
        are_alike(&**self, &**other)
    }
}

#[cfg(feature = "fast-lane")]
mod by_address {
    #![allow(
        unsafe_code,
        reason = "an `Arc` from its address, a handler as what it is; each block has its argument \
                  beside it"
    )]

    use std::mem::{self, ManuallyDrop};
    use std::ops::Deref;
    use std::ptr;
    use std::ptr::NonNull;
    use std::sync::Arc;

    use crate::handler::Handler;
    use crate::snapshot::list::Run;

    /// An `Arc`, by the address of its object.
    pub(crate) struct Counted<H: ?Sized>(NonNull<H>);

    // SAFETY: it owns an `Arc<H>`, and gives access to nothing else.
    unsafe impl<H: ?Sized> Send for Counted<H> where Arc<H>: Send {}
    // SAFETY: as above.
    unsafe impl<H: ?Sized> Sync for Counted<H> where Arc<H>: Sync {}

    pub(crate) fn counted<H: ?Sized>(handler: Arc<H>) -> Counted<H> {
        let address = Arc::into_raw(handler).cast_mut();
        Counted(NonNull::new(address).expect("no object is at null"))
    }

    /// Returns whether the handlers have the same concrete type.
    pub(crate) fn are_alike<H: Handler + ?Sized>(one: &H, other: &H) -> bool {
        one.kind() == other.kind()
    }

    /// Returns the handlers of a run as what they are. To be called by the first of them, with
    /// itself: it knows its type, which is that of all.
    #[inline(always)]
    pub(crate) fn in_run<'l, S: Handler, H: Handler + ?Sized>(
        first: &S,
        run: Run<'l, Counted<H>>,
    ) -> impl Iterator<Item = &'l S> {
        let handlers = run.items();
        debug_assert!(ptr::addr_eq(first, &raw const *handlers[0]));
        handlers.iter().map(|handler| {
            debug_assert_eq!(handler.kind(), first.kind());
            // SAFETY: `S` is the concrete type of the first handler. Lists make runs, and only of
            // neighbours that are alike: their `TypeId`s were compared, of which no two types have
            // the same. (Types that differ in nothing but lifetimes may have; they have one layout,
            // and each is valid where the other is, because handlers are `'static`.) So it is the
            // concrete type of this handler, too, which lives and is shared as in `deref`.
            unsafe { handler.0.cast::<S>().as_ref() }
        })
    }

    impl<H: ?Sized> Counted<H> {
        pub(crate) fn strong_count(this: &Self) -> usize {
            Arc::strong_count(&this.arc())
        }

        /// Returns the `Arc` that this owns.
        fn arc(&self) -> ManuallyDrop<Arc<H>> {
            // SAFETY: the address that `into_raw` returned. The reference that it stands for is
            // released only when `self` is dropped.
            ManuallyDrop::new(unsafe { Arc::from_raw(self.0.as_ptr()) })
        }
    }

    impl<H: ?Sized> Deref for Counted<H> {
        type Target = H;

        #[inline(always)]
        fn deref(&self) -> &H {
            // SAFETY: the object lives as long as the `Arc` that `self` owns. An `Arc` lends its
            // object to many at once, so nobody has exclusive access to it.
            unsafe { self.0.as_ref() }
        }
    }

    impl<H: ?Sized> Clone for Counted<H> {
        #[inline]
        fn clone(&self) -> Self {
            mem::forget(Arc::clone(&self.arc()));
            Self(self.0)
        }
    }

    impl<H: ?Sized> Drop for Counted<H> {
        #[inline]
        fn drop(&mut self) {
            drop(ManuallyDrop::into_inner(self.arc()));
        }
    }
}

#[cfg(not(feature = "fast-lane"))]
mod plain {
    pub(crate) use std::sync::Arc as Counted;

    use crate::handler::Handler;
    use crate::snapshot::list::Run;

    pub(crate) fn counted<H: ?Sized>(handler: Counted<H>) -> Counted<H> {
        handler
    }

    pub(crate) fn are_alike<H: Handler + ?Sized>(_: &H, _: &H) -> bool {
        false
    }

    pub(crate) fn in_run<'l, S: Handler, H: Handler + ?Sized>(
        _: &S,
        run: Run<'l, Counted<H>>,
    ) -> impl Iterator<Item = &'l H> {
        run.items().iter().map(|handler| &**handler)
    }
}

#[cfg(all(test, feature = "fast-lane"))]
mod tests {
    use std::sync::Arc;

    use crate::flavor::sync::SyncRegistry;
    use crate::snapshot::cell::HasCell;
    use crate::snapshot::list::{List, Ranked};

    /// Whether each handler is alike to the one before it.
    fn alike(registry: &SyncRegistry<u32>) -> Vec<bool> {
        registry.cell().with_list(|list| {
            let handlers: Vec<_> = list.iter().cloned().collect();
            handlers.windows(2).map(|pair| pair[0].is_alike(&pair[1])).collect()
        })
    }

    /// Nothing but the `TypeId` tells them apart: even their vtables may be one.
    #[test]
    fn types_with_the_same_code_and_layout_are_told_apart() {
        let registry = SyncRegistry::new();
        let (one, other) = (|_: &u32| {}, |_: &u32| {});
        registry.register(one);
        registry.register(other);
        registry.register(other);
        assert_eq!(alike(&registry), [false, true]);
        registry.cell().with_list(|list| assert!(matches!(list, List::Chunked { .. })));
    }

    #[test]
    fn types_that_differ_in_a_captured_generic_are_told_apart() {
        fn register<T: Copy + Send + Sync + 'static>(registry: &SyncRegistry<u32>, captured: T) {
            registry.register(move |_| _ = captured);
        }
        let registry = SyncRegistry::new();
        register(&registry, 1_i32);
        register(&registry, 1_u32);
        register(&registry, 2_u32);
        assert_eq!(alike(&registry), [false, true]);
    }

    /// One closure type for each lifetime, as the compiler checks them, and one code.
    #[test]
    fn types_that_differ_in_a_lifetime_are_a_run() {
        fn register<'a: 'a>(registry: &SyncRegistry<u32>, counted: &'a Arc<()>) {
            let own = Arc::clone(counted);
            registry.register(move |_| _ = &own);
        }
        let (registry, counted) = (SyncRegistry::new(), Arc::new(()));
        register(&registry, Box::leak(Box::new(Arc::clone(&counted))));
        register(&registry, &counted);
        assert_eq!(alike(&registry), [true]);
        registry.cell().with_list(|list| assert!(matches!(list, List::Alike(_))));
        assert_eq!(registry.notify(&0).called(), 2);
        registry.clear();
        assert_eq!(Arc::strong_count(&counted), 2, "the closures were dropped");
    }

    /// A function for all lifetimes is another type than one for `'static`.
    #[test]
    fn function_types_that_differ_in_a_lifetime_are_told_apart() {
        fn name(_: &'static str) {}
        fn register<T: Copy + Send + Sync + 'static>(registry: &SyncRegistry<u32>, captured: T) {
            registry.register(move |_| _ = captured);
        }
        let registry = SyncRegistry::new();
        register(&registry, name as fn(&'static str));
        register(&registry, (|_: &str| {}) as for<'a> fn(&'a str));
        assert_eq!(alike(&registry), [false]);
    }
}

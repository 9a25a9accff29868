//! [`Counted`]: a counted reference to a handler, by the handler's own address.
//!
//! An `Arc` of a trait object has the address of its counts. Where the object lies behind them
//! depends on its alignment, so a call would first load that from the vtable, and compute. Without
//! the feature `fast-lane`, it is a plain `Arc`.
//!
//! [`in_run`] gives access to the handlers of a run as what they are: by one virtual call for all of
//! them. Without the feature, no two handlers are alike, and so a run has only one.

#[cfg(feature = "fast-lane")]
pub(crate) use by_address::{Counted, are_alike, counted, in_run};
#[cfg(not(feature = "fast-lane"))]
pub(crate) use plain::{Counted, are_alike, counted, in_run};

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
    #[allow(
        unreachable_pub,
        missing_debug_implementations,
        reason = "in sealed traits: outside the crate nobody can name it"
    )]
    pub struct Counted<H: ?Sized>(NonNull<H>);

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

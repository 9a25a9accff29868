//! A stand-in for the fast lane without the feature `fast-lane`: it only knows whether there is a
//! list.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::primitive::atomic::{AtomicBool, Ordering};

pub(crate) struct Lane<L> {
    // Set before a list is published, and cleared after the empty one was.
    has_list: AtomicBool,
    list: PhantomData<fn() -> L>,
}

pub(crate) struct Inside<L>(Infallible, PhantomData<L>);

pub(crate) struct Word;

pub(crate) struct Closed;

impl<L> Lane<L> {
    pub(crate) fn new() -> Self {
        Self {
            has_list: AtomicBool::new(false),
            list: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn look(&self) -> Option<Word> {
        // SeqCst: as the lane's own, for the promise about flags (see `Registry`). Acquires the list that
        // `arc_swap` has published before `open`.
        self.has_list.load(Ordering::SeqCst).then_some(Word)
    }

    #[expect(clippy::unused_self, reason = "as the fast lane has it")]
    #[inline]
    pub(crate) fn enter_hot(&self, _word: Word) -> Option<Inside<L>> {
        None
    }

    #[expect(clippy::unused_self, reason = "as the fast lane has it")]
    #[inline]
    pub(crate) fn enter(&self) -> Option<Inside<L>> {
        None
    }

    pub(crate) fn close(&self) -> Closed {
        // Before the list is published, so that no dispatch that must see it finds nothing.
        self.has_list.store(true, Ordering::SeqCst);
        Closed
    }

    pub(crate) fn open(&self, list: Option<&Arc<L>>) {
        self.has_list.store(list.is_some(), Ordering::SeqCst);
    }
}

impl Closed {
    #[expect(clippy::unused_self, reason = "as the fast lane has it")]
    pub(crate) fn hand_over<L>(self, _list: &Arc<L>) {}
}

impl<L> Inside<L> {
    pub(crate) fn collect_if_owed(&self) {
        match self.0 {}
    }

    pub(crate) fn list(&self) -> &Arc<L> {
        match self.0 {}
    }
}

#[inline]
pub(crate) fn attach_and_collect() {}

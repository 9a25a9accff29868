//! Which closure types the handlers of a topic have.

use std::hint::black_box;
use std::sync::Arc;

use crate::work::Work;
use crate::{Notify, fill, handler, notify_once};

/// Whether handlers come from one line of a program, or from several.
#[derive(Clone, Copy, Debug)]
pub enum Mix {
    /// All of them are one closure type, as [`Subject::with_handlers`](crate::Subject) makes them.
    OneType,
    /// All of them are one closure type, and own something that has to be dropped.
    Owning,
    /// Four closure types, in turn.
    FourTypes,
    /// One of another type comes first.
    OneBefore,
}

/// Whatever handlers can be registered on, at a priority.
pub trait Register {
    /// Registers one.
    fn register(&mut self, priority: i32, handler: impl Fn(&u64) + Send + Sync + 'static);
}

/// Whatever can be made with handlers of several types.
pub trait Mixed: Notify + 'static {
    /// Makes one, with so many handlers.
    fn mixed(mix: Mix, handlers: u64) -> Self;
}

impl Mix {
    /// What a row says of so many handlers.
    #[must_use]
    pub fn describe(self, handlers: u64) -> String {
        match self {
            Self::OneType => format!("{handlers} handlers"),
            Self::Owning => format!("{handlers} handlers that own something"),
            Self::FourTypes => format!("{handlers} handlers of four types"),
            Self::OneBefore => format!("one handler, then {} of another type", handlers - 1),
        }
    }

    /// Registers so many handlers.
    pub(crate) fn fill(self, handlers: u64, on: &mut impl Register) {
        fill(handlers, |priority, n| match (self, n % 4) {
            (Self::Owning, _) => on.register(priority, owning(n)),
            (Self::OneBefore, _) if n == 0 => on.register(priority, exclusive_or(n)),
            (Self::OneType | Self::OneBefore, _) | (Self::FourTypes, 0) => {
                on.register(priority, handler(n));
            }
            (Self::FourTypes, 1) => on.register(priority, exclusive_or(n)),
            (Self::FourTypes, 2) => on.register(priority, difference(n)),
            (Self::FourTypes, _) => on.register(priority, product(n)),
        });
    }
}

/// Notifies so many handlers.
#[must_use]
pub fn notifying<S: Mixed>(mix: Mix, handlers: u64) -> Work {
    let mut subject = S::mixed(mix, handlers);
    Work::new(move |times| {
        for event in 0..times {
            notify_once(&mut subject, black_box(&event));
        }
    })
}

fn owning(n: u64) -> impl Fn(&u64) + Send + Sync + 'static {
    let owned = Arc::new(n);
    move |event| {
        black_box(*event + *owned);
    }
}

fn exclusive_or(n: u64) -> impl Fn(&u64) + Send + Sync + 'static {
    move |event| {
        black_box(*event ^ n);
    }
}

fn difference(n: u64) -> impl Fn(&u64) + Send + Sync + 'static {
    move |event| {
        black_box(event.wrapping_sub(n));
    }
}

fn product(n: u64) -> impl Fn(&u64) + Send + Sync + 'static {
    move |event| {
        black_box(event.wrapping_mul(n));
    }
}

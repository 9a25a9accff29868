//! Filters: handlers change a document that the event borrows, in order. One vetoes, one panics,
//! and one is unloaded.

use std::mem;
use std::ops::ControlFlow::{Break, Continue};

use topic_registry::{HandlerGuard, Hook, HookTopicRegistry};

/// A document that has changed. The event borrows all that it has.
struct Change<'e> {
    text: &'e mut String,
    old: &'e str,
    refused: Option<String>,
}

/// Names the event.
enum Changes {}

impl Hook for Changes {
    type Event<'e> = Change<'e>;
}

type Hooks = HookTopicRegistry<&'static str, Changes>;

/// A component. Its filters live as long as it does.
struct Spelling {
    _filters: [HandlerGuard; 2],
}

impl Spelling {
    fn load(hooks: &Hooks) -> Self {
        let correct = |change: &mut Change<'_>| *change.text = change.text.replace("teh", "the");
        Self {
            _filters: ["edit", "paste"].map(|on| hooks.register_guard(on, correct)),
        }
    }
}

fn put(hooks: &Hooks, on: &'static str, document: &mut String, text: &str) {
    let old = mem::replace(document, text.to_owned());
    let mut change = Change {
        text: document,
        old: &old,
        refused: None,
    };
    let delivery = hooks.notify(&on, &mut change);
    if let Some(reason) = change.refused.filter(|_| delivery.stopped()) {
        println!("{on}: refused, {reason}");
        *document = old;
    }
    println!("{on}: {document:?}");
}

fn main() {
    let hooks = Hooks::new();
    let spelling = Spelling::load(&hooks);
    hooks.options("edit").priority(10).register_interceptor(|change| {
        if change.text.len() >= change.old.len() / 2 {
            return Continue(());
        }
        change.refused = Some(format!("{:?} would be half gone", change.old));
        Break(())
    });
    hooks.register("save", |change| change.text.push('\n'));
    hooks.register_once("edit", |_| panic!("on purpose: the others still run"));
    hooks.register("edit", |change| change.text.truncate(30));

    let mut document = String::new();
    put(&hooks, "edit", &mut document, "teh first line");
    put(&hooks, "save", &mut document, "the first line");
    put(&hooks, "edit", &mut document, "gone");
    drop(spelling);
    put(&hooks, "paste", &mut document, "teh end");
}

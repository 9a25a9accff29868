//! Filters: handlers change a document that the event borrows, in order. One vetoes, one panics, and
//! one is unloaded.

use std::mem;
use std::ops::ControlFlow::{Break, Continue};

use topic_registry::{HandlerGuard, Hook, HookTopicRegistry};

struct Document {
    path: &'static str,
    text: String,
}

/// What happens to a document. These are the keys of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum On {
    Edit,
    Save,
}

/// A document that has changed. It borrows all that it has.
struct Change<'e> {
    document: &'e mut Document,
    old_text: &'e str,
    refused: Option<String>,
}

enum Changes {}

impl Hook for Changes {
    type Event<'e> = Change<'e>;
}

type Hooks = HookTopicRegistry<On, Changes>;

/// A component. Its filter lives as long as it does.
struct Spelling(#[expect(dead_code, reason = "kept for its drop")] HandlerGuard);

impl Spelling {
    fn load(hooks: &Hooks) -> Self {
        Self(hooks.register_guard(On::Edit, |change| {
            change.document.text = change.document.text.replace("teh", "the");
        }))
    }
}

fn put(hooks: &Hooks, on: On, document: &mut Document, text: &str) {
    let old_text = mem::replace(&mut document.text, text.to_owned());
    let mut change = Change {
        document,
        old_text: &old_text,
        refused: None,
    };
    let delivery = hooks.notify(&on, &mut change);
    let refused = change.refused;
    if delivery.stopped() {
        document.text = old_text;
    }
    println!(
        "{on:?} {}: {:?} {}",
        document.path,
        document.text,
        refused.unwrap_or_default()
    );
}

fn main() {
    let hooks = Hooks::new();
    let spelling = Spelling::load(&hooks);
    for on in [On::Edit, On::Save] {
        hooks.handle(on).options().priority(10).register_interceptor(move |change| {
            if change.document.text.len() < change.old_text.len() / 2 {
                change.refused = Some(format!("(refused: {:?} is half gone)", change.old_text));
                return Break(());
            }
            Continue(())
        });
    }
    hooks.register(On::Save, |change| change.document.text.push('\n'));
    hooks.register_once(On::Edit, |_| {
        panic!("on purpose: the others run, and the edit is done")
    });
    hooks.register(On::Edit, |change| {
        assert!(!change.document.text.contains("teh"));
    });

    let mut document = Document {
        path: "a.txt",
        text: String::new(),
    };
    put(&hooks, On::Edit, &mut document, "teh first line");
    put(&hooks, On::Save, &mut document, "the first line");
    put(&hooks, On::Edit, &mut document, "gone");
    drop(spelling);
    put(
        &hooks,
        On::Edit,
        &mut document,
        "the first line, and the second",
    );
}

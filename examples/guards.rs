//! Guards: a component receives events for as long as it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use topic_registry::{HandlerGuard, SyncRegistry, TopicRegistry};

struct Edit {
    file: String,
}

/// A component that keeps all its guards in one place, whatever the registry.
struct Preview {
    draws: Arc<AtomicUsize>,
    _guards: Vec<HandlerGuard>,
}

impl Preview {
    fn open(
        file: &'static str,
        edits: &TopicRegistry<String, Edit>,
        ticks: &SyncRegistry<u32>,
    ) -> Self {
        let draws = Arc::new(AtomicUsize::new(0));
        let on_edit = Arc::clone(&draws);
        let on_tick = Arc::clone(&draws);
        Self {
            draws,
            _guards: vec![
                edits.register_guard(file, move |edit| {
                    println!("  {} was edited: draw it", edit.file);
                    on_edit.fetch_add(1, Ordering::Relaxed);
                }),
                ticks.register_guard(move |tick| {
                    println!("  tick {tick}: draw the cursor of {file}");
                    on_tick.fetch_add(1, Ordering::Relaxed);
                }),
            ],
        }
    }
}

fn main() {
    let edits = TopicRegistry::<String, Edit>::new();
    let ticks = SyncRegistry::<u32>::new();
    let edit = |file: &str| Edit {
        file: file.to_owned(),
    };

    let preview = Preview::open("a.md", &edits, &ticks);
    println!("with a preview:");
    edits.notify("a.md", &edit("a.md"));
    ticks.notify(&1);
    println!(
        "it has drawn {} times",
        preview.draws.load(Ordering::Relaxed)
    );

    // No dispatch starts its handlers any more, on any thread (a call that has begun may still
    // run), and its topic is gone.
    drop(preview);
    println!("without it:");
    let called = edits.notify("a.md", &edit("a.md")).called() + ticks.notify(&2).called();
    println!(
        "  {called} handlers were called, {} topics are left",
        edits.len()
    );

    // `forget` keeps the handler registered without its guard.
    let id = ticks.register_guard(|tick| println!("  tick {tick}")).forget();
    println!("with a handler whose guard was forgotten:");
    ticks.notify(&3);
    println!("it was registered until now: {}", ticks.unregister(id));
}

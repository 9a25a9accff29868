//! What a bridge notices is logged.

use std::fmt::{Debug, Write};
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::{Server, Topics, connect, settle, wait_for};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps warnings of all bridges here.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "topic_registry_nats" && *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").expect("memory");
    }
}

#[test]
fn what_a_bridge_notices_is_logged() {
    let Some(server) = Server::start() else {
        return;
    };
    tracing::subscriber::set_global_default(Lines).expect("no other test sets it");
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    topics.register("logged", |_| {});
    settle(&bridge);
    server.publish("logged", b"\xff");
    wait_for("a line that says so", || {
        let lines = LINES.lock().unwrap();
        let is_it = |line: &String| line.contains("Undecodable") && line.contains("logged");
        lines.iter().any(is_it)
    });
}

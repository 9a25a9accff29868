//! What the tests have in common: a small client, and waits that end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::TopicRegistry;
use topic_registry_inspect::json::{Document, Registry, Topic};
use topic_registry_inspect::{Inspector, InspectorGuard};

pub(crate) type Topics = TopicRegistry<String, str>;

/// After that, what is waited for has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Serves topics as `bus`, at a free port.
pub(crate) fn serve(topics: &Topics) -> InspectorGuard {
    serve_all(Inspector::new().watch("bus", topics))
}

pub(crate) fn serve_all(inspector: Inspector) -> InspectorGuard {
    inspector.serve("127.0.0.1:0").expect("a port is free")
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a request as it is, and returns what comes until the end of the connection.
pub(crate) fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("it answers in time");
    let text = String::from_utf8(text).expect("it is text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {head}")),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    stream.set_write_timeout(Some(PATIENCE)).expect("it is a time");
    stream
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"),
    )
}

pub(crate) fn document(guard: &InspectorGuard, query: &str) -> Document {
    let answer = get(guard.address(), &format!("/topics.json?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("it is a document")
}

/// The document of a later look than all before: samples are shared for less than half a second.
pub(crate) fn later_document(guard: &InspectorGuard, query: &str) -> Document {
    let before = document(guard, query).taken;
    let mut later = None;
    wait_for("a new look at the topics", || {
        let document = document(guard, query);
        later = (document.taken > before).then_some(document);
        later.is_some()
    });
    later.expect("it was waited for")
}

pub(crate) fn keys(document: &Document) -> Vec<&str> {
    document.topics.iter().map(|topic| topic.key.as_str()).collect()
}

pub(crate) fn topic<'a>(document: &'a Document, key: &str) -> &'a Topic {
    let mut topics = document.topics.iter();
    topics
        .find(|topic| topic.key == key)
        .unwrap_or_else(|| panic!("no {key:?}: {document:#?}"))
}

pub(crate) fn registry<'a>(document: &'a Document, name: &str) -> &'a Registry {
    let mut registries = document.registries.iter();
    registries
        .find(|it| it.name == name)
        .unwrap_or_else(|| panic!("no {name:?}: {document:#?}"))
}

pub(crate) fn wait_for(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Something that holds up others until it is dropped.
pub(crate) struct Gate(Option<Sender<()>>);

impl Gate {
    /// Returns a gate, and what to wait for.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (gate, opened) = mpsc::channel();
        (Self(Some(gate)), opened)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

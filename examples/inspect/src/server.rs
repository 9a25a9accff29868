//! The web server: a thread with a runtime of its own.
//!
//! A connection is for one request, and ends after some seconds, whatever its client does. There
//! are so many at a time; beyond that, the oldest gives way.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::hosts::Hosts;
use crate::json::{Failure, VERSION};
use crate::query::Query;
use crate::sampler::Asker;

/// The time for a whole connection.
const CONNECTION: Duration = Duration::from_secs(10);
/// The time for the thread that looks at the topics.
const ANSWER: Duration = Duration::from_secs(3);
const MOST_CONNECTIONS: usize = 64;
/// For the head of a request, which hyper limits to this.
const BUFFER: usize = 16 << 10;

/// No script, style or connection but this server's own, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page: their paths, types and contents.
const FILES: [(&str, &str, &str); 4] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    (
        "/script.js",
        "text/javascript; charset=utf-8",
        include_str!("page/script.js"),
    ),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What all connections share.
pub(crate) struct Site {
    pub(crate) asker: Asker,
    pub(crate) hosts: Hosts,
}

/// A server that is ready to run.
pub(crate) struct Server {
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    site: Arc<Site>,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, site: Site) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        listener.set_nonblocking(true)?;
        let context = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(context);
        let site = Arc::new(site);
        Ok(Self {
            runtime,
            listener,
            site,
        })
    }

    /// Serves until the sender is dropped. Then nothing is left: no socket and no task.
    pub(crate) fn run(self, stop: oneshot::Receiver<()>) {
        let Self {
            runtime,
            listener,
            site,
        } = self;
        runtime.block_on(async {
            // Ended by the end of the runtime, as all connections are.
            tokio::spawn(accept(listener, site));
            let _ = stop.await;
        });
    }
}

async fn accept(listener: tokio::net::TcpListener, site: Arc<Site>) {
    let mut connections = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, maybe.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        make_room(&mut connections);
        let served = timeout(CONNECTION, serve(stream, Arc::clone(&site)));
        connections.push_back(tokio::spawn(served).abort_handle());
    }
}

fn make_room(connections: &mut VecDeque<AbortHandle>) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= MOST_CONNECTIONS {
        if let Some(oldest) = connections.pop_front() {
            oldest.abort();
        }
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>) {
    let respond = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(respond(&request, &site).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), respond);
    // What a client does wrong is its own concern.
    let _ = connection.await;
}

async fn respond<B>(request: &Request<B>, site: &Site) -> Response<Full<Bytes>> {
    if !site.hosts.allow(request) {
        let why = "This host is not served: ask for the address, or allow its name.\n";
        return response(StatusCode::FORBIDDEN, TEXT, why);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    if path == "/topics.json" {
        return topics(request.uri().query().unwrap_or_default(), site).await;
    }
    match FILES.iter().find(|(name, ..)| *name == path) {
        Some((_, kind, content)) => response(StatusCode::OK, kind, *content),
        None => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "There is only / and /topics.json.\n",
        ),
    }
}

async fn topics(query: &str, site: &Site) -> Response<Full<Bytes>> {
    let query = match Query::parse(query) {
        Ok(query) => query,
        Err(why) => return failure(StatusCode::BAD_REQUEST, why),
    };
    match site.asker.ask(query, ANSWER).await {
        Some(document) => response(StatusCode::OK, JSON, document),
        None => failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "the topics are not read in time: there are very many, or a key's Debug, Clone or \
             destructor does not return"
                .into(),
        ),
    }
}

fn failure(status: StatusCode, error: String) -> Response<Full<Bytes>> {
    let version = VERSION;
    let text = serde_json::to_vec(&Failure { version, error });
    response(status, JSON, text.unwrap_or_default())
}

fn response(
    status: StatusCode,
    kind: &'static str,
    content: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

//! Clusters whose servers are killed, or whose routes break.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use topic_registry_nats::{Bridge, Options, Text};

use crate::support::{Server, TextBridge, Topics, connect, free_port, say, settle, wait, wait_for};

#[test]
fn when_its_server_is_killed_a_bridge_goes_on_through_another() {
    let ports = [(); 3].map(|()| free_port());
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
    let servers = ports.map(|port| {
        let cluster = format!("nats://127.0.0.1:{port}");
        let args = [
            "--cluster",
            &cluster,
            "--cluster_name",
            "three",
            "--routes",
            &routes,
        ];
        Server::start_with(&args, "")
    });
    let [Some(first), Some(second), Some(third)] = servers else {
        return;
    };
    let mut servers = [first, second, third];
    // A client learns of the others from its server.
    wait_for("the cluster to form", || {
        servers.iter().all(|it| it.routes() == 2)
    });

    let (here, there) = (Topics::new(), Topics::new());
    let receiver = connect(&servers[2], &there);
    let (next, heard) = mpsc::channel();
    let _guard = there.register_guard("news", move |text| {
        next.send(text.to_owned()).expect("it is waited for");
    });
    settle(&receiver);
    let urls = vec![servers[0].url(), servers[1].url()];
    let sender = wait(Bridge::connect(urls, &here, Text, Options::default()));
    let sender = sender.expect("the servers are up");
    tell(&sender, &heard, "all are there");

    let home = servers.iter().position(|server| server.connections() == 1);
    let home = home.filter(|home| *home != 2).expect("the sender's");
    servers[home].stop();
    tell(&sender, &heard, "the sender's is gone");
    assert_eq!(sender.counts().connects, 2);

    // And that of the receiver, which may be the sender's by now.
    servers[2].stop();
    tell(&sender, &heard, "the receiver's is gone");
    let left = 1 - home;
    wait_for("both to be there", || servers[left].connections() == 2);
    say(&format!(
        "cluster: sender {:?}, receiver {:?}",
        sender.counts(),
        receiver.counts()
    ));
}

#[test]
fn a_route_that_breaks_loses_messages_which_are_counted() {
    let [here, there] = [(); 2].map(|()| free_port());
    let proxy = Proxy::start(here);
    let start = |port: u16, routes: &str| {
        let cluster = format!("nats://127.0.0.1:{port}");
        let mut args = vec!["--cluster", &cluster, "--cluster_name", "two"];
        if !routes.is_empty() {
            args.extend(["--routes", routes]);
        }
        Server::start_with(&args, "")
    };
    let route = format!("nats://127.0.0.1:{}", proxy.port);
    let (Some(near), Some(far)) = (start(here, ""), start(there, &route)) else {
        return;
    };
    wait_for("the cluster to form", || near.routes() == 1);
    let (own, other) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&near, &own), connect(&far, &other));
    let (next, heard) = mpsc::channel();
    let _guard = other.register_guard("news", move |text| {
        next.send(text.to_owned()).expect("it is waited for");
    });
    settle(&receiver);
    // Else the first messages are those of a sender that was never heard.
    wait_for("the other server to know", || near.knows("news"));
    tell(&sender, &heard, "first");

    proxy.cut();
    wait_for("the route to break", || near.routes() == 0);
    for number in 0..100 {
        sender.publish("news", &number.to_string()).expect("it is short");
    }
    // Its own server has them, and that is what it says.
    settle(&sender);
    proxy.mend();
    wait_for("the route to be back", || near.routes() == 1);
    tell(&sender, &heard, "last");
    let (sent, counts) = (sender.counts().sent, receiver.counts());
    assert!(counts.missed >= 100, "{counts:?}");
    wait_for("all to be counted", || {
        let counts = receiver.counts();
        counts.received + counts.missed == sent
    });
    assert_eq!(
        (sender.counts().connects, receiver.counts().connects),
        (1, 1)
    );
}

/// A connection between two servers, which can be cut.
struct Proxy {
    port: u16,
    is_cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let proxy = Self {
            port,
            is_cut: Arc::default(),
            streams: Arc::default(),
        };
        let (is_cut, streams) = (Arc::clone(&proxy.is_cut), Arc::clone(&proxy.streams));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to));
                let (Ok(far), false) = (far, is_cut.load(Ordering::SeqCst)) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let [mut from, mut to] = [from, to].map(|it| it.try_clone().expect("a socket"));
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                streams.lock().unwrap().extend([near, far]);
            }
        });
        proxy
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// Publishes a text until it is heard; it may be missed while the cluster finds out.
fn tell(sender: &TextBridge, heard: &Receiver<String>, text: &str) {
    wait_for(text, || {
        sender.publish("news", text).expect("it can be sent");
        heard.try_iter().any(|heard| heard == text)
    });
}

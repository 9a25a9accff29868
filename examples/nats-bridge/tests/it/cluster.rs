//! A cluster of three servers, of which those that bridges are connected to are killed.

use std::sync::mpsc::{self, Receiver};

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

/// Publishes a text until it is heard; it may be missed while the cluster finds out.
fn tell(sender: &TextBridge, heard: &Receiver<String>, text: &str) {
    wait_for(text, || {
        sender.publish("news", text).expect("it can be sent");
        heard.try_iter().any(|heard| heard == text)
    });
}

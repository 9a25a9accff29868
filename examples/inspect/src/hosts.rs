//! Which requests come from where they may.
//!
//! A page of another site can send requests to this machine. By itself it cannot read the answers.
//! But if its name is bound to this address again, after it was loaded, the browser takes both for
//! the same site. Such a request carries that name as its host. An address as a host cannot be bound
//! to anything.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Request;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;

/// The hosts that are served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// Any address, not only those of this machine alone.
    pub(crate) any_address: bool,
    /// In lower case.
    pub(crate) names: Vec<String>,
}

impl Hosts {
    /// Whether a request may be answered. The port does not matter: it may have been forwarded.
    pub(crate) fn allow<B>(&self, request: &Request<B>) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let is_host_served = hosts.next().is_none() && host.is_some_and(|host| self.serve(host));
        // A request to a proxy names its host here.
        let target = request.uri().authority().map(Authority::as_str);
        is_host_served
            && target.is_none_or(|target| self.serve(target))
            && is_same_origin(request.headers(), host.unwrap_or_default())
    }

    fn serve(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        match address(&name) {
            Some(address) => self.any_address || address.is_loopback(),
            None => name == "localhost" || self.names.contains(&name),
        }
    }
}

fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => host.parse().ok(),
    }
}

/// Whether a browser sends the request for a page of this host, or because of what its user has
/// typed or followed.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_own = |origin: &str| origin.strip_prefix("http://") == Some(host);
    headers.get(ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(is_own))
        && (text("sec-fetch-mode") == Some("navigate")
            && text("sec-fetch-dest") == Some("document")
            || text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &Hosts, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::get("/topics.json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        hosts.allow(&request.body(()).expect("it is a request"))
    }

    #[test]
    fn only_this_machine_is_served_by_default() {
        let hosts = Hosts::default();
        for host in [
            "127.0.0.1:6670",
            "127.1.2.3",
            "localhost",
            "LOCALHOST:80",
            "localhost.:1",
            "[::1]:6670",
        ] {
            assert!(allows(&hosts, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:6670",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "0.0.0.0",
            "[::2]",
            "user@evil.example",
            "",
            ":80",
            "a b",
        ] {
            assert!(!allows(&hosts, &[("host", host)]), "{host}");
        }
        assert!(!allows(&hosts, &[]), "a request without a host");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!allows(&hosts, &two), "two hosts");
    }

    #[test]
    fn a_name_is_served_if_it_was_allowed() {
        let hosts = Hosts {
            any_address: true,
            names: vec!["box.example".into()],
        };
        for host in ["192.168.0.1:6670", "Box.Example:6670", "localhost"] {
            assert!(allows(&hosts, &[("host", host)]), "{host}");
        }
        assert!(!allows(&hosts, &[("host", "evil.example")]));
    }

    #[test]
    fn pages_of_other_sites_are_not_served() {
        let hosts = Hosts::default();
        let with = |name, value| allows(&hosts, &[("host", "localhost:1"), (name, value)]);
        assert!(with("origin", "http://localhost:1"));
        for origin in [
            "http://localhost:2",
            "http://evil.example",
            "null",
            "https://localhost:1",
        ] {
            assert!(!with("origin", origin), "{origin}");
        }
        assert!(with("sec-fetch-site", "same-origin") && with("sec-fetch-site", "none"));
        assert!(!with("sec-fetch-site", "cross-site") && !with("sec-fetch-site", "same-site"));
        let followed = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(allows(&hosts, &followed), "a link");
    }

    #[test]
    fn the_target_of_a_request_is_its_host_too() {
        let request = Request::get("http://evil.example/").header("host", "localhost");
        assert!(!Hosts::default().allow(&request.body(()).expect("it is a request")));
    }
}

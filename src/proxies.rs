//! Proxies that are believed when they say who their client is (`--trust-proxy`), and what they say: `Forwarded` (RFC
//! 7239) or `X-Forwarded-For`. Each proxy on the way adds one address at the end: the one that asked it. The client may
//! have sent everything before that itself. So the list is read from its end, and the first address that is no trusted
//! proxy's is the client's.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::parameters;

/// The proxies that are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Networks; a single address is one too.
    networks: Vec<IpNet>,
    /// Whether clients of a socket file are trusted.
    unix: bool,
}

impl Proxies {
    /// Reads `ADDR`, `ADDR/BITS` or `unix`, or several of them with commas between.
    pub fn read(list: &str) -> Option<Proxies> {
        let mut proxies = Proxies::default();
        for item in list.split(',').map(str::trim) {
            match item.parse::<IpAddr>() {
                Ok(address) => proxies.networks.push(address.to_canonical().into()),
                Err(_) if item == "unix" => proxies.unix = true,
                Err(_) => proxies.networks.push(item.parse().ok()?),
            }
        }
        Some(proxies)
    }

    /// Whether `address` is a trusted proxy's; a client of a socket file has none.
    pub fn trust(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return self.unix };
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client that a trusted proxy asks for. `None` if it names none: no header does, or the two headers name two.
    /// Nearly every proxy writes one of them and passes the other on, so that one may be the client's own.
    pub fn client(&self, forwarded: Option<&str>, x_forwarded_for: Option<&str>) -> Option<IpAddr> {
        let forwarded = forwarded.map(|list| match parameters::parts(list, ',') {
            (elements, true) => self.nearest(elements.into_iter().map(|element| parameters::value(element, "for"))),
            (_, false) => None, // a quote that does not end would swallow what a proxy has added
        });
        let plain = x_forwarded_for.map(|list| self.nearest(list.split(',').map(|node| Some(node.to_owned()))));
        match (forwarded, plain) {
            (Some(one), Some(other)) => one.filter(|_| one == other),
            (one, other) => one.or(other).flatten(),
        }
    }

    /// The last of `nodes` that is no trusted proxy's, or the first one if all are. `None` if this node, or one behind
    /// it, is no address: then nobody vouches for what stands before.
    fn nearest(&self, nodes: impl DoubleEndedIterator<Item = Option<String>>) -> Option<IpAddr> {
        let mut client = None;
        for node in nodes.rev() {
            client = Some(address_of(&node?)?);
            if !self.trust(client) {
                break;
            }
        }
        client
    }
}

/// `ADDR`, `ADDR:PORT`, `[ADDR]` or `[ADDR]:PORT`; anything else, such as `unknown` or `_name`, is no address.
fn address_of(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let address = match node.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None if node.matches(':').count() == 1 => node.split_once(':')?.0,
        None => node,
    };
    address.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: &str = "10.0.0.0/8, ::ffff:192.0.2.1,fd00::/8,unix";

    #[test]
    fn proxies_are_addresses_and_networks_and_the_socket_file() {
        let proxies = Proxies::read(TRUSTED).unwrap();
        let trusts = |address: &str| proxies.trust(Some(address.parse().unwrap()));
        for address in ["10.0.0.0", "10.255.255.255", "192.0.2.1", "fd00::1", "fdff::"] {
            assert!(trusts(address), "{address}");
        }
        for address in ["9.255.255.255", "11.0.0.0", "192.0.2.0", "192.0.2.2", "fe00::", "::a00:1"] {
            assert!(!trusts(address), "{address}");
        }
        assert!(proxies.trust(None) && !Proxies::default().trust(None));
        assert!(Proxies::read("0.0.0.0/0").unwrap().trust("203.0.113.9".parse().ok()));
        assert!(!Proxies::read("0.0.0.0/0").unwrap().trust("::1".parse().ok()));
        for wrong in
            ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.1,", "10.0.0", "[::1]", "Unix"]
        {
            assert_eq!(Proxies::read(wrong), None, "{wrong:?}");
        }
    }

    /// Checks whom a request with these headers is from.
    fn check(headers: &[(&str, &str)], client: &str) {
        let header = |name: &str| headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let found = Proxies::read(TRUSTED).unwrap().client(header("Forwarded"), header("X-Forwarded-For"));
        assert_eq!(found.map_or("nobody".to_owned(), |address| address.to_string()), client, "{headers:?}");
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_clients() {
        let plain = |list: &str, client: &str| check(&[("X-Forwarded-For", list)], client);
        plain("203.0.113.7", "203.0.113.7");
        plain("198.51.100.1, 203.0.113.7", "203.0.113.7");
        plain("198.51.100.1,203.0.113.7 , 10.1.2.3,192.0.2.1", "203.0.113.7");
        plain("10.1.2.3, 10.4.5.6", "10.1.2.3");
        plain("nonsense, 203.0.113.7", "203.0.113.7");
        plain("203.0.113.7:4711", "203.0.113.7");
        plain("2001:db8::7", "2001:db8::7");
        plain("[2001:db8::7]:4711", "2001:db8::7");
        plain("::ffff:203.0.113.7", "203.0.113.7");
        for nobody in
            ["", "nonsense", "203.0.113.7, nonsense", "203.0.113.7, unknown, 10.0.0.1", "203.0.113.7,", "[::1"]
        {
            plain(nobody, "nobody");
        }
        check(&[], "nobody");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        let forwarded = |list: &str, client: &str| check(&[("Forwarded", list)], client);
        forwarded("for=203.0.113.7", "203.0.113.7");
        forwarded("For=\"203.0.113.7:4711\"; proto=https;by=10.0.0.1", "203.0.113.7");
        forwarded("proto=http;FOR=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
        forwarded("for=\"[2001:db8::7]\", for=\"10.0.0.9:_hidden\"", "2001:db8::7");
        forwarded("for=198.51.100.1, for=203.0.113.7;host=\"a,b;for=10.0.0.1\\\",\", for=10.0.0.1", "203.0.113.7");
        for nobody in ["for=unknown", "for=_hidden", "proto=http", "for", "for=203.0.113.7, by=10.0.0.1", "=", ";,;"] {
            forwarded(nobody, "nobody");
        }
        // A client can neither swallow what the proxy adds, nor have it name somebody else.
        forwarded("for=198.51.100.1;host=\", for=203.0.113.7", "nobody");
        forwarded("host=\"x;for=198.51.100.1;y\";for=203.0.113.7", "203.0.113.7");
    }

    #[test]
    fn two_headers_that_name_two_clients_name_none() {
        let (forwarded, plain) = (("Forwarded", "for=203.0.113.7"), "X-Forwarded-For");
        check(&[forwarded, (plain, "203.0.113.7")], "203.0.113.7");
        check(&[forwarded, (plain, "198.51.100.1, 203.0.113.7, 10.0.0.1")], "203.0.113.7");
        check(&[forwarded, (plain, "198.51.100.1")], "nobody");
        check(&[forwarded, (plain, "nonsense")], "nobody");
        check(&[("Forwarded", "for=unknown"), (plain, "203.0.113.7")], "nobody");
    }
}

//! Which host Twilio's API is at: the base URL, and what an account's region and edge make of it.

use std::net::IpAddr;

use reqwest::Url;

use crate::domain::Malformed;

/// Where Twilio is.
pub(super) const TWILIO: &str = "https://api.twilio.com";

/// Scheme, host and port: all that a base URL may have.
///
/// What comes behind them is ours alone, or somebody could make us send credentials to a path of their choosing.
pub(super) fn base_url(text: &str, allow_insecure: bool) -> Result<Url, &'static str> {
    const SHAPE: &str = "must be https://HOST or https://HOST:PORT, with no user, path or query";
    let (scheme, authority) = text.split_once("://").ok_or(SHAPE)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if !["http", "https"].contains(&scheme)
        || !authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    {
        return Err(SHAPE);
    }
    let url = Url::parse(text).map_err(|_| SHAPE)?;
    let host = url.host_str().ok_or(SHAPE)?;
    match scheme {
        "https" => Ok(url),
        _ if is_twilio(host) => Err("must be https: Twilio would be sent the credentials in the clear"),
        _ if allow_insecure || is_loopback(host) => Ok(url),
        _ => Err("must be https, unless it is loopback or allow_insecure_twilio = true"),
    }
}

/// The base URL for one account, as Twilio's own SDKs make it: `https://product.edge.region.twilio.com`.
///
/// A port is kept. Hosts that are not Twilio's have neither region nor edge, and are kept as they are.
pub(super) fn host(base_url: &Url, region: Option<&str>, edge: Option<&str>) -> Url {
    let Some(name) = base_url.host_str().filter(|name| is_twilio(name)) else { return base_url.clone() };
    let labels: Vec<_> = name.split('.').collect();
    let (product, old_edge, old_region) = match labels[..] {
        [product, _, _] => (product, None, None),
        [product, region, _, _] => (product, None, Some(region)),
        [product, edge, region, _, _] => (product, Some(edge), Some(region)),
        _ => return base_url.clone(),
    };
    let edge = edge.or(old_edge);
    let region = region.or(old_region).or(edge.map(|_| "us1"));
    let name: Vec<_> = [Some(product), edge, region, Some("twilio.com")].into_iter().flatten().collect();
    let mut url = base_url.clone();
    match url.set_host(Some(&name.join("."))) {
        Ok(()) => url,
        Err(_) => base_url.clone(),
    }
}

/// Whether a host names a region but no edge. Twilio serves these from us1, where the region's credentials are wrong.
///
/// Source: <https://www.twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region>
pub(super) fn lacks_edge(url: &Url) -> bool {
    let labels: Vec<_> = url.host_str().unwrap_or_default().split('.').collect();
    matches!(labels[..], [_, region, "twilio", "com"] if region != "us1")
}

/// A region or an edge: it becomes part of a host name.
pub(super) struct HostLabel(pub(super) String);

impl TryFrom<String> for HostLabel {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain && (1..=32).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text));
        }
        Err(Malformed("must be a name of Twilio's in small letters, such as us1, ie1, ashburn or dublin"))
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_twilio(host: &str) -> bool {
    host == "twilio.com" || host.ends_with(".twilio.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_edge_make_the_host_that_twilios_sdks_make() {
        for (input, edge, region, result) in [
            ("https://api.twilio.com", None, None, "https://api.twilio.com/"),
            ("https://api.twilio.com", Some("edge"), None, "https://api.edge.us1.twilio.com/"),
            ("https://api.twilio.com", None, Some("region"), "https://api.region.twilio.com/"),
            ("https://api.twilio.com", Some("edge"), Some("region"), "https://api.edge.region.twilio.com/"),
            ("https://api.region.twilio.com", Some("edge"), None, "https://api.edge.region.twilio.com/"),
            ("https://api.uriedge.region.twilio.com", Some("edge"), None, "https://api.edge.region.twilio.com/"),
            ("https://api.uriedge.uriregion.twilio.com", None, Some("r"), "https://api.uriedge.r.twilio.com/"),
            ("https://api.region.twilio.com:123", Some("edge"), None, "https://api.edge.region.twilio.com:123/"),
            ("https://api.region2.domain.com", Some("edge"), Some("region"), "https://api.region2.domain.com/"),
            ("https://api.nottwilio.com", Some("edge"), None, "https://api.nottwilio.com/"),
            ("http://127.0.0.1:4010", Some("edge"), Some("region"), "http://127.0.0.1:4010/"),
        ] {
            let base_url = Url::parse(input).unwrap();
            assert_eq!(host(&base_url, region, edge).as_str(), result, "{input} {edge:?} {region:?}");
        }
    }

    #[test]
    fn a_base_url_is_scheme_host_and_port_and_nothing_else() {
        for right in ["https://api.twilio.com", "https://api.twilio.com/", "https://proxy.example:8443"] {
            assert!(base_url(right, false).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "api.twilio.com",
            "ftp://api.twilio.com",
            "https://",
            "https:///",
            "https://user@api.twilio.com",
            "https://user:pass@api.twilio.com",
            "https://api.twilio.com/2010-04-01",
            "https://api.twilio.com//",
            "https://api.twilio.com/..",
            "https://api.twilio.com\\@evil.example",
            "https://api.twilio.com?x=1",
            "https://api.twilio.com#x",
            "https://api.twilio.com/%2e%2e",
            "https://api.twilio.com:99999",
            " https://api.twilio.com",
            "https://api.twi\tlio.com",
        ] {
            assert!(base_url(wrong, true).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_those_who_ask_for_it() {
        for local in ["http://127.0.0.1:4010", "http://localhost:4010", "http://[::1]:4010"] {
            assert!(base_url(local, false).is_ok(), "{local}");
        }
        for remote in ["http://simulator:4010", "http://10.0.0.1", "http://localhost.example"] {
            assert!(base_url(remote, false).is_err(), "{remote}");
            assert!(base_url(remote, true).is_ok(), "{remote}");
        }
        assert!(base_url("http://api.twilio.com", true).is_err());
    }

    #[test]
    fn a_region_without_an_edge_is_not_what_it_says() {
        for (url, lacks) in [
            ("https://api.ie1.twilio.com", true),
            ("https://api.us1.twilio.com", false),
            ("https://api.dublin.ie1.twilio.com", false),
            ("https://api.twilio.com", false),
            ("https://api.ie1.example.com", false),
        ] {
            assert_eq!(lacks_edge(&Url::parse(url).unwrap()), lacks, "{url}");
        }
    }
}

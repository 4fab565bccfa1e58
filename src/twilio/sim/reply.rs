//! Answers as the 2010-04-01 API gives them: statuses, error bodies, JSON with Twilio's spacing, headers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{Formatter, Serializer};
use uuid::Uuid;

/// An answer before it takes the road.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The 32 hex digits of the request id, where they are not to be fresh.
    request_hex: Option<String>,
    sender: Sender,
}

/// Who answered: only Twilio itself puts its headers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Twilio,
    /// A gateway, a proxy, or the simulator's control routes.
    Other,
}

/// What Twilio's own headers say of a request.
pub(super) struct Measured {
    pub(super) took: Duration,
    pub(super) concurrent_requests: u32,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, body: body.into(), headers, request_hex: None, sender: Sender::Twilio }
    }

    pub(super) fn json(status: u16, resource: &impl Serialize) -> Self {
        Self::new(status, "application/json", spaced(resource))
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { headers: Vec::new(), ..Self::new(status, "", "") }
    }

    /// A page for people, as gateways and proxies answer.
    pub(super) fn html(status: u16) -> Self {
        let page =
            format!("<html>\r\n<head><title>{status}</title></head>\r\n<body>Please log in.</body>\r\n</html>\r\n");
        Self { sender: Sender::Other, ..Self::new(status, "text/html", page) }
    }

    pub(super) fn text(status: u16, text: impl Into<Bytes>) -> Self {
        Self { sender: Sender::Other, ..Self::new(status, "text/plain; charset=utf-8", text) }
    }

    /// An answer of the control routes, for people and scripts.
    pub(super) fn control(resource: &impl Serialize) -> Self {
        Self { sender: Sender::Other, ..Self::json(200, resource) }
    }

    pub(super) fn error(status: u16, code: u32, message: &str) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            code: u32,
            message: &'a str,
            more_info: String,
            status: u16,
        }
        Self::json(status, &Body { code, message, more_info: more_info(code), status })
    }

    /// RFC 9457, as Twilio's newer APIs answer.
    pub(super) fn problem(status: u16, code: u32, message: &str) -> Self {
        let body = json!({"type": more_info(code), "title": message, "status": status, "code": code});
        Self::new(status, "application/problem+json", spaced(&body))
    }

    pub(super) fn unauthorized() -> Self {
        let body = r#"{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}"#;
        Self::new(401, "application/json", body).with(WWW_AUTHENTICATE, r#"Basic realm="Twilio API""#)
    }

    pub(super) fn not_found(path: &str) -> Self {
        Self::error(404, 20404, &format!("The requested resource {path} was not found"))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::error(405, 20004, "Method not allowed")
    }

    pub(super) fn too_many_requests() -> Self {
        Self::error(429, 20429, "Too Many Requests")
    }

    pub(super) fn too_large() -> Self {
        Self::error(413, 20413, "Request entity too large")
    }

    /// A value that no header can carry is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    pub(super) fn with_request_hex(self, hex: String) -> Self {
        Self { request_hex: Some(hex), ..self }
    }

    /// The head and headers around a body, which is this reply's or what a fault made of it.
    pub(super) fn respond<B>(&self, body: B, measured: &Measured) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = hyper::StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.extend(self.headers.iter().cloned());
        if self.sender == Sender::Twilio {
            let constant = CONSTANT_HEADERS.iter().map(|(name, value)| (*name, HeaderValue::from_static(value)));
            headers.extend(constant.map(|(name, value)| (HeaderName::from_static(name), value)));
            let fresh = || Uuid::new_v4().simple().to_string();
            let request_id = format!("RQ{}", self.request_hex.clone().unwrap_or_else(fresh));
            for (name, value) in [
                ("twilio-request-id", request_id),
                ("twilio-request-duration", format!("{:.3}", measured.took.as_secs_f64())),
                ("twilio-concurrent-requests", measured.concurrent_requests.to_string()),
            ] {
                headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
            }
        }
        response
    }
}

/// As seen on answers of api.twilio.com.
const CONSTANT_HEADERS: [(&str, &str); 10] = [
    ("access-control-allow-origin", "*"),
    (
        "access-control-allow-headers",
        "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since, \
         Idempotency-Key",
    ),
    ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
    ("access-control-expose-headers", "ETag"),
    ("access-control-allow-credentials", "true"),
    ("x-powered-by", "AT-5000"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-shenanigans", "none"),
    ("x-home-region", "us1"),
    ("x-api-domain", "api.twilio.com"),
];

fn more_info(code: u32) -> String {
    format!("https://www.twilio.com/docs/errors/{code}")
}

/// JSON as Twilio writes it: `{"a": 1, "b": [2, 3]}`.
fn spaced(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)).expect("plain data always becomes JSON");
    bytes
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_twilios_keys_order_and_spacing() {
        assert_eq!(
            Reply::not_found("/2010-04-01/Nothing.json").body,
            r#"{"code": 20404, "message": "The requested resource /2010-04-01/Nothing.json was not found", "more_info": "https://www.twilio.com/docs/errors/20404", "status": 404}"#
        );
    }

    #[test]
    fn a_value_that_no_header_can_carry_is_left_out() {
        let reply = Reply::empty(429).with(hyper::header::RETRY_AFTER, "a\nb");
        assert!(reply.headers.is_empty());
    }
}

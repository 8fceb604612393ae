//! What a request speaks, and so in what its answer must be written.

use http::{HeaderMap, header::CONTENT_TYPE};

/// A protocol, by the content type of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web in bytes.
    GrpcWeb,
    /// gRPC-Web in Base64.
    GrpcWebText,
    /// Connect's unary calls in binary.
    Proto,
    /// Connect's streams in JSON.
    ConnectJson,
    /// Connect's streams in binary.
    ConnectProto,
    /// Connect's unary calls in JSON, REST, and whatever is none of the others.
    Json,
}

impl Speech {
    /// What a request with these headers speaks.
    pub fn of(headers: &HeaderMap) -> Self {
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match said.to_ascii_lowercase().as_str() {
            "application/proto" => Self::Proto,
            "application/connect+json" => Self::ConnectJson,
            "application/connect+proto" => Self::ConnectProto,
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Self::GrpcWebText,
            said if said.starts_with("application/grpc-web") => Self::GrpcWeb,
            said if said.starts_with("application/grpc") => Self::Grpc,
            _ => Self::Json,
        }
    }

    /// The content type of an answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::GrpcWeb => "application/grpc-web+proto",
            Self::GrpcWebText => "application/grpc-web-text+proto",
            Self::Proto => "application/proto",
            Self::ConnectJson => "application/connect+json",
            Self::ConnectProto => "application/connect+proto",
            Self::Json => "application/json",
        }
    }
}

/// Whether the request says that its body is JSON, which a page of another site may not say unasked.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    said.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &'static str) -> Speech {
        Speech::of(&HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]))
    }

    #[test]
    fn every_protocol_is_told_by_its_content_type() {
        assert_eq!(of("application/grpc"), Speech::Grpc);
        assert_eq!(of("application/grpc+proto"), Speech::Grpc);
        assert_eq!(of("application/grpc-web"), Speech::GrpcWeb);
        assert_eq!(of("application/grpc-web+proto"), Speech::GrpcWeb);
        assert_eq!(of("application/grpc-web-text"), Speech::GrpcWebText);
        assert_eq!(of("application/json; charset=utf-8"), Speech::Json);
        assert_eq!(of("Application/Proto"), Speech::Proto);
        assert_eq!(of("application/connect+json"), Speech::ConnectJson);
        assert_eq!(of("application/connect+proto"), Speech::ConnectProto);
        assert_eq!(of("text/plain"), Speech::Json);
        assert_eq!(Speech::of(&HeaderMap::new()), Speech::Json);
    }

    #[test]
    fn what_a_page_may_send_unasked_is_no_json() {
        let says = |text: &'static str| {
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]))
        };
        assert!(says("application/json") && says("Application/JSON;charset=utf-8"));
        let simple = ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"];
        assert_eq!(simple.map(says), [false; 3]);
        assert!(!is_json(&HeaderMap::new()));
    }
}

//! The gRPC interfaces as generated from `proto/`: messages, clients and servers.
//!
//! Public for clients (the command line, tests). In the server only the front door names it.

#![allow(
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

/// The worker protocol of the Cerebelum SDK, with our additions.
pub mod cerebelum {
    tonic::include_proto!("cerebelum.worker");
}

/// What Lazarus offers beside it.
pub mod lazarus {
    tonic::include_proto!("lazarus.v1");
}

/// Both interfaces as a descriptor set: what reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

    use super::DESCRIPTORS;

    /// The first number of our own fields.
    const OURS: i32 = 100;

    fn ours() -> FileDescriptorProto {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        set.file.into_iter().find(|file| file.package() == "cerebelum.worker").unwrap()
    }

    fn fields(prefix: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
        let name = format!("{prefix}{}", message.name());
        for field in message.field.iter().filter(|field| field.number() < OURS) {
            let presence = if field.proto3_optional() { "optional" } else { "-" };
            facts.insert(format!(
                "message {name} {} {} {} {} {} {presence}",
                field.number(),
                field.name(),
                field.r#type() as i32,
                field.label() as i32,
                field.type_name.as_deref().unwrap_or("-"),
            ));
        }
        for nested in &message.nested_type {
            fields(&format!("{name}."), nested, facts);
        }
    }

    fn facts(file: &FileDescriptorProto) -> BTreeSet<String> {
        let mut facts = BTreeSet::new();
        for message in &file.message_type {
            fields("", message, &mut facts);
        }
        for word in &file.enum_type {
            for value in &word.value {
                facts.insert(format!("enum {} {} {}", word.name(), value.number(), value.name()));
            }
        }
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            for call in &service.method {
                facts.insert(format!(
                    "rpc {service_name} {} {} {} {} {}",
                    call.name(),
                    call.input_type(),
                    call.output_type(),
                    call.client_streaming(),
                    call.server_streaming(),
                ));
            }
        }
        facts
    }

    #[test]
    fn the_worker_protocol_is_the_published_one_but_for_what_is_our_own() {
        let published = include_str!("../proto/cerebelum/published-0.3.1.txt");
        let published: BTreeSet<String> =
            published.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let ours = facts(&ours());
        assert_eq!(published.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new());
        let call = |fact: &&String| fact.split(' ').nth(2).map(str::to_owned);
        let added: Vec<Option<String>> = ours.difference(&published).map(|it| call(&it)).collect();
        assert_eq!(added, [Some("ApproveStep".to_owned()), Some("RejectStep".to_owned())]);
    }
}

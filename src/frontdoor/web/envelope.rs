//! The envelopes of Connect's streams: each message with its length, and the end with what went wrong.
//!
//! Source: connectrpc.com/docs/protocol "Streaming RPCs".

use bytes::{Buf as _, BufMut as _, Bytes};

/// The message is compressed, which we do not read.
const COMPRESSED: u8 = 1;
/// The last envelope of an answer: how the call ended, as JSON.
const END: u8 = 2;

/// The only message in a request's body.
///
/// # Errors
///
/// What is wrong with the body, for whoever sent it.
pub(super) fn opened(mut body: Bytes) -> Result<Bytes, &'static str> {
    if body.remaining() < 5 {
        return Err("the body has no envelope: one byte of flags, four of length, then a message");
    }
    let (flags, length) = (body.get_u8(), body.get_u32() as usize);
    if flags & COMPRESSED != 0 {
        return Err("the message is compressed; send it as it is");
    }
    if body.remaining() != length {
        return Err("the body must have exactly one message, as long as its envelope says");
    }
    Ok(body)
}

/// An answer of `messages`, and `end`.
pub(super) fn sealed(messages: &[Bytes], end: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    for message in messages {
        put(&mut body, 0, message);
    }
    put(&mut body, END, end);
    body
}

fn put(body: &mut Vec<u8>, flags: u8, message: &[u8]) {
    body.put_u8(flags);
    body.put_u32(u32::try_from(message.len()).expect("BUG: a message is bounded"));
    body.put_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_opened_if_it_is_whole_and_the_only_one() {
        let one = Bytes::from_static(b"\0\0\0\0\x02{}");
        assert_eq!(opened(one.clone()), Ok(Bytes::from_static(b"{}")));
        let two = Bytes::from([&one[..], &one[..]].concat());
        for wrong in [one.slice(..6), one.slice(..3), two, Bytes::from_static(b"\x01\0\0\0\0")] {
            assert!(opened(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_answer_ends_with_how_it_ended() {
        let body = sealed(&[Bytes::from_static(b"a"), Bytes::from_static(b"bc")], b"{}");
        assert_eq!(body, b"\0\0\0\0\x01a\0\0\0\0\x02bc\x02\0\0\0\x02{}");
    }
}

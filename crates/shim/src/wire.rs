//! Frames of ttrpc (containerd/ttrpc, PROTOCOL.md): ten bytes of header, then a protobuf message.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::proto::{
    MESSAGE_HEADER_LENGTH, MESSAGE_LENGTH_MAX, MESSAGE_TYPE_REQUEST, MESSAGE_TYPE_RESPONSE, MessageHeader,
};

/// A whole frame.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Request {
        stream: u32,
        payload: Vec<u8>,
    },
    Response {
        payload: Vec<u8>,
    },
    /// A request longer than the protocol allows; its payload is skipped.
    TooLong {
        stream: u32,
    },
    /// Part of a stream of messages, of which the Task service has none.
    Other,
}

/// Makes frames of the bytes that come from a socket.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Payload of a frame that is too long, still to come.
    skip: usize,
}

impl Frames {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
    }

    /// The next frame that is complete.
    pub fn next(&mut self) -> Option<Frame> {
        let header: [u8; MESSAGE_HEADER_LENGTH] = self.bytes.get(..MESSAGE_HEADER_LENGTH)?.try_into().ok()?;
        let header = MessageHeader::from(header);
        let length = header.length as usize;
        let end = MESSAGE_HEADER_LENGTH + length;
        if length > MESSAGE_LENGTH_MAX {
            let here = self.bytes.len().min(end);
            self.bytes.drain(..here);
            self.skip = end - here;
            return Some(Frame::TooLong { stream: header.stream_id });
        }
        let payload = self.bytes.get(MESSAGE_HEADER_LENGTH..end)?.to_vec();
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            // A long request must not keep its memory for as long as the connection lives.
            self.bytes = Vec::new();
        }
        Some(match header.type_ {
            MESSAGE_TYPE_REQUEST => Frame::Request { stream: header.stream_id, payload },
            MESSAGE_TYPE_RESPONSE => Frame::Response { payload },
            _ => Frame::Other,
        })
    }
}

/// The frame of a request.
pub fn request(stream: u32, message: &impl Message) -> Vec<u8> {
    frame(message, |length| MessageHeader::new_request(stream, length))
}

/// The frame of a response.
pub fn response(stream: u32, message: &impl Message) -> Vec<u8> {
    frame(message, |length| MessageHeader::new_response(stream, length))
}

fn frame(message: &impl Message, header: impl FnOnce(u32) -> MessageHeader) -> Vec<u8> {
    // Writing to memory fails only for a message that lacks a required field; version 3 has none.
    let payload = message.write_to_bytes().unwrap_or_default();
    let mut frame: Vec<u8> = header(payload.len() as u32).into();
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::ttrpc::Request;
    use proptest::prelude::*;

    use super::*;

    fn named(method: &str) -> Request {
        Request { method: method.to_owned(), ..Request::default() }
    }

    proptest! {
        /// However the bytes are cut, the same frames come out.
        #[test]
        fn any_cut_gives_the_same_frames(methods in prop::collection::vec("[a-z]{0,40}", 1..6), cut in 1..50_usize) {
            let bytes: Vec<u8> = methods.iter().enumerate().flat_map(|(n, m)| request(n as u32 * 2 + 1, &named(m))).collect();
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next() {
                    let Frame::Request { stream, payload } = frame else { panic!("{frame:?}") };
                    seen.push((stream, Request::parse_from_bytes(&payload).unwrap().method));
                }
            }
            let wanted: Vec<_> = methods.iter().enumerate().map(|(n, m)| (n as u32 * 2 + 1, m.clone())).collect();
            prop_assert_eq!(seen, wanted);
        }

        /// Garbage neither panics nor makes the buffer grow beyond one frame.
        #[test]
        fn garbage_is_harmless(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40)) {
            let mut frames = Frames::default();
            for piece in pieces {
                frames.push(&piece);
                while frames.next().is_some() {}
                prop_assert!(frames.bytes.len() <= MESSAGE_LENGTH_MAX + MESSAGE_HEADER_LENGTH);
            }
        }
    }

    /// The frame after one that is too long is read as usual.
    #[test]
    fn too_long_is_skipped() {
        let length = MESSAGE_LENGTH_MAX + 1;
        let header: Vec<u8> = MessageHeader::new_request(7, length as u32).into();
        let mut frames = Frames::default();
        frames.push(&header);
        assert_eq!(frames.next(), Some(Frame::TooLong { stream: 7 }));
        for _ in 0..length / 1024 {
            frames.push(&[0; 1024]);
            assert_eq!(frames.next(), None);
        }
        frames.push(&vec![0; length % 1024]);
        frames.push(&request(9, &named("next")));
        assert!(matches!(frames.next(), Some(Frame::Request { stream: 9, .. })));
        assert!(frames.bytes.is_empty());
    }
}

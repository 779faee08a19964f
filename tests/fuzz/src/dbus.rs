//! D-Bus messages: systemd, or whoever sits on the socket, may send anything.

use rt_cgroups::systemd::message::{Reader, decode, total_length};

/// Reads bytes as a message, and its body as each kind of value that rt reads. True if they were a
/// message.
pub fn run(data: &[u8]) -> bool {
    if let Some(head) = data.first_chunk::<16>()
        && let Some(length) = total_length(head)
    {
        assert!(length >= 16, "a message shorter than its header would be read for ever");
    }
    let Some(message) = decode(data) else { return false };
    assert!(message.body.len() <= data.len());
    let values = [
        |r: &mut Reader<'_>| r.word().map(drop),
        |r: &mut Reader<'_>| r.text().map(drop),
        |r: &mut Reader<'_>| r.signature().map(drop),
    ];
    for (i, first) in values.iter().enumerate() {
        let mut reader = Reader::new(&message.body);
        let mut each = values.iter().cycle().skip(i);
        let mut read = 0;
        while first(&mut reader).is_some() && each.next().is_some_and(|value| value(&mut reader).is_some()) {
            read += 1;
            assert!(read <= message.body.len(), "a reader that does not get on");
        }
    }
    true
}

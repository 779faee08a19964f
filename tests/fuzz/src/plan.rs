//! The plan decoder and the reports, which both sides of the socket read with rights that the other
//! may lack.

use rt_protocol::op::{self, Op, decode, encode, next};
use rt_protocol::report::{HEAD, Report};
use rt_protocol::wire::strings;

use crate::config::Bytes;

/// Decodes bytes as init does. What decodes (then it is true) must encode to a plan that means the
/// same.
pub fn run(data: &[u8]) -> bool {
    report(data);
    let Ok((count, mut reader)) = decode(data) else { return false };
    let mut ops = Vec::new();
    // Every op takes at least its number, so no count makes this longer than the bytes are.
    for _ in 0..count {
        match next(&mut reader) {
            Ok(op) => ops.push(op),
            Err(_) => return false,
        }
    }
    for op in &ops {
        if let Op::Hook(op::Hook { argv, env, .. }) | Op::Exec { argv, env, .. } = op {
            let all = strings(argv.0).chain(strings(env.0));
            assert!(all.map(|text| text.count_bytes() + 1).sum::<usize>() <= argv.0.len() + env.0.len());
        }
        let mut fields = 0;
        op.fields(|_, value| fields += format!("{value:?}").len().min(1));
        assert!(!op.name().is_empty());
    }
    let mut bytes = Bytes(Vec::new());
    encode(ops.iter(), &mut bytes);
    assert!(bytes.0.len() <= data.len(), "a plan that grew");
    let Ok((again, mut reader)) = decode(&bytes.0) else { panic!("our own header") };
    assert_eq!(again, count);
    for op in &ops {
        assert_eq!(next(&mut reader).as_ref(), Ok(op));
    }
    true
}

fn report(data: &[u8]) {
    let Some((report, detail)) = Report::decode(data) else { return };
    assert_eq!(detail.len(), data.len() - HEAD);
    assert_eq!(Report::decode(&report.encode()), Some((report, &[][..])));
}

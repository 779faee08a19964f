//! A BPF assembler that works from the last instruction to the first.
//!
//! BPF jumps only forward, so in that order every target is already placed and no jump needs a
//! second pass. A conditional jump reaches 255 instructions; for a target further away a copy of
//! the return, or an unconditional jump, goes in between.

use std::collections::BTreeMap;

use seccompiler::sock_filter;

/// Instruction codes (linux/bpf_common.h), as far as seccomp takes and we emit them.
pub(super) mod code {
    pub const LOAD: u16 = 0x20;
    pub const AND: u16 = 0x54;
    pub const JUMP: u16 = 0x05;
    pub const JEQ: u16 = 0x15;
    pub const JGT: u16 = 0x25;
    pub const JGE: u16 = 0x35;
    pub const JSET: u16 = 0x45;
    pub const RETURN: u16 = 0x06;
}

/// Offsets into `struct seccomp_data`.
pub(super) mod offset {
    pub const NUMBER: u32 = 0;
    pub const ARCH: u32 = 4;
    pub const ARGS: u32 = 16;
}

/// Where a jump leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// To an instruction already emitted, counted from the end.
    At(usize),
    /// To any return of this value.
    Return(u32),
}

/// How far a jump may be away to be taken without help: two instructions may still come in between.
const REACH: usize = 253;

#[derive(Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<sock_filter>,
    /// The latest places of return values. A profile has few; of more, the one emitted longest ago
    /// is forgotten.
    returns: [Option<(u32, usize)>; 8],
    /// The latest jump to a place that was out of reach.
    relays: BTreeMap<usize, usize>,
}

impl Assembler {
    pub fn with_capacity(instructions: usize) -> Self {
        Self { reversed: Vec::with_capacity(instructions), ..Self::default() }
    }

    /// Compares the accumulator with `k`.
    pub fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.reach(yes);
        let no = self.reach(no);
        // `reach` left both within 255.
        let distance = |place: usize| (self.reversed.len() - place - 1) as u8;
        let (jt, jf) = (distance(yes), distance(no));
        self.push(code, jt, jf, k)
    }

    /// Loads a word of `struct seccomp_data` and goes on at `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(code::LOAD, 0, 0, offset)
    }

    /// Masks the accumulator and goes on at `next`.
    pub fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(code::AND, 0, 0, mask)
    }

    /// The program, whose first instruction is `start`.
    pub fn finish(mut self, start: Label) -> Vec<sock_filter> {
        self.fall_through(start);
        self.reversed.reverse();
        self.reversed
    }

    /// Makes `next` the instruction emitted last.
    fn fall_through(&mut self, next: Label) {
        match next {
            Label::Return(value) => {
                self.push_return(value);
            }
            Label::At(place) if place + 1 == self.reversed.len() => {}
            Label::At(place) => {
                self.push_jump(place);
            }
        }
    }

    /// A place within reach that is as good as `label`.
    fn reach(&mut self, label: Label) -> usize {
        let near = |place: usize, len: usize| len - place <= REACH;
        let len = self.reversed.len();
        match label {
            Label::Return(value) => match self.returns.iter().flatten().find(|known| known.0 == value) {
                Some(&(_, place)) if near(place, len) => place,
                _ => self.push_return(value),
            },
            Label::At(place) if near(place, len) => place,
            Label::At(place) => match self.relays.get(&place) {
                Some(&relay) if near(relay, len) => relay,
                _ => {
                    let relay = self.push_jump(place);
                    self.relays.insert(place, relay);
                    relay
                }
            },
        }
    }

    fn push_return(&mut self, value: u32) -> usize {
        let place = self.reversed.len();
        self.push(code::RETURN, 0, 0, value);
        let known = self.returns.iter().position(|known| known.is_none_or(|known| known.0 == value));
        let slot = known.unwrap_or_else(|| {
            let oldest = self.returns.iter().enumerate().min_by_key(|(_, known)| known.map(|known| known.1));
            oldest.map_or(0, |(slot, _)| slot)
        });
        self.returns[slot] = Some((value, place));
        place
    }

    fn push_jump(&mut self, place: usize) -> usize {
        let distance = self.reversed.len() - place - 1;
        self.push(code::JUMP, 0, 0, distance as u32);
        self.reversed.len() - 1
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Label::At(self.reversed.len() - 1)
    }
}

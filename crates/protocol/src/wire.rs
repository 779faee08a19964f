//! The plan as bytes: a header, then one record per op, every field on an 8-byte boundary,
//! little-endian.
//!
//! Strings keep their NUL and blobs their alignment, so that the stub hands both to the kernel from
//! where they lie.

use core::ffi::CStr;

/// Identifies a plan, and with it the version of this format.
pub const MAGIC: u64 = u64::from_le_bytes(*b"rtplan03");

/// A plan goes to the stub in messages of at most so many bytes, the first of which begins with the
/// plan's length.
pub const CHUNK: usize = 16 * 1024;

/// Bytes of that length, a little-endian number.
pub const LENGTH: usize = 8;

/// Why bytes are not a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The first 8 bytes are not [`MAGIC`].
    Magic,
    /// The bytes end inside a field.
    Short,
    /// A string has no NUL at its end, or one before.
    Text,
    /// No op has this number.
    Kind(u64),
}

/// Where encoded bytes go; `Vec<u8>` on `rt`'s side.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

/// Reads fields one after another.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`, which must be 8-byte aligned for blobs to be so.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next number.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next length-prefixed run of bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = usize::try_from(self.number()?).map_err(|_| Malformed::Short)?;
        let padded = n.checked_add(pad(n)).ok_or(Malformed::Short)?;
        self.take(padded)?.get(..n).ok_or(Malformed::Short)
    }
}

/// How many zero bytes bring `n` to a multiple of 8.
fn pad(n: usize) -> usize {
    n.wrapping_neg() % 8
}

fn put_bytes(bytes: &[u8], sink: &mut impl Sink) {
    sink.put(&(bytes.len() as u64).to_le_bytes());
    sink.put(bytes);
    if let Some(zeros) = [0; 8].get(..pad(bytes.len())) {
        sink.put(zeros);
    }
}

/// A field that `rt` writes.
pub trait Put {
    /// Appends the field to `sink`.
    fn put(&self, sink: &mut impl Sink);
}

/// A field that the stub reads.
pub trait Take<'a>: Sized {
    /// Reads the next field.
    fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed>;
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Put for $t {
            fn put(&self, sink: &mut impl Sink) {
                sink.put(&(*self as u64).to_le_bytes());
            }
        }
        impl Take<'_> for $t {
            fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(reader.number()? as $t)
            }
        }
    )*};
}
numbers!(u32, u64, i32, i64);

/// A NUL-terminated string on either side of the wire.
pub trait Text: AsRef<CStr> {}
impl<T: AsRef<CStr>> Text for T {}

/// Newtype that distinguishes a string field from a blob field in [`Put`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Str<S>(pub S);

impl<S: AsRef<CStr>> core::fmt::Debug for Str<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.0.as_ref(), f)
    }
}

impl<S: AsRef<CStr>> Put for Str<S> {
    fn put(&self, sink: &mut impl Sink) {
        put_bytes(self.0.as_ref().to_bytes_with_nul(), sink);
    }
}

impl<'a> Take<'a> for Str<&'a CStr> {
    fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        CStr::from_bytes_with_nul(reader.bytes()?).map(Str).map_err(|_| Malformed::Text)
    }
}

/// Bytes whose meaning the op knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Blob<B>(pub B);

impl<B: AsRef<[u8]>> core::fmt::Debug for Blob<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Texts, and lists of them, read best as such; a program does not.
        let bytes = self.0.as_ref();
        match core::str::from_utf8(bytes) {
            Ok(text) if !bytes.iter().any(|b| b.is_ascii_control() && !matches!(b, 0 | b'\n' | b'\t')) => {
                core::fmt::Debug::fmt(text, f)
            }
            _ => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl<B: AsRef<[u8]>> Put for Blob<B> {
    fn put(&self, sink: &mut impl Sink) {
        put_bytes(self.0.as_ref(), sink);
    }
}

impl<'a> Take<'a> for Blob<&'a [u8]> {
    fn take(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.bytes().map(Blob)
    }
}

/// The NUL-terminated strings that lie one after another in `blob`; a last one without its NUL is
/// left out.
pub fn strings(blob: &[u8]) -> impl Iterator<Item = &CStr> {
    let mut rest = blob;
    core::iter::from_fn(move || {
        let text = CStr::from_bytes_until_nul(rest).ok()?;
        rest = rest.get(text.count_bytes() + 1..)?;
        Some(text)
    })
}

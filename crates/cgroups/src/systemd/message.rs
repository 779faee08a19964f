//! D-Bus messages, as much of them as talking to systemd takes (D-Bus specification, "Message
//! Protocol"). Little-endian; every value is padded to its own alignment from the start of the
//! message.

/// A value in a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `s`
    Text(String),
    /// `b`
    Bool(bool),
    /// `t`
    Number(u64),
    /// `u`
    Word(u32),
    /// `i`
    Int(i32),
    /// `x`
    Long(i64),
    /// `au`
    Words(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `as`
    Texts(Vec<String>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Value::Text(_) => "s",
            Value::Bool(_) => "b",
            Value::Number(_) => "t",
            Value::Word(_) => "u",
            Value::Int(_) => "i",
            Value::Long(_) => "x",
            Value::Words(_) => "au",
            Value::Bytes(_) => "ay",
            Value::Texts(_) => "as",
            Value::Pairs(_) => "a(ss)",
        }
    }
}

/// Named values: what a unit is started with or changed to.
pub type Properties = Vec<(&'static str, Value)>;

/// Bytes under construction.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn word(&mut self, n: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&n.to_le_bytes());
    }

    fn number(&mut self, n: u64) {
        self.align(8);
        self.bytes.extend_from_slice(&n.to_le_bytes());
    }

    /// A string (`s`) or object path (`o`).
    pub fn text(&mut self, text: &str) {
        self.word(text.len() as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.word(u32::from(value));
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array of elements with this alignment. Its length counts from the first element.
    fn array<T>(&mut self, align: usize, items: &[T], mut each: impl FnMut(&mut Writer, &T)) {
        self.word(0);
        let length_at = self.bytes.len() - 4;
        self.align(align);
        let start = self.bytes.len();
        for item in items {
            self.align(align);
            each(self, item);
        }
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(value) => self.bool(*value),
            Value::Number(n) => self.number(*n),
            Value::Word(n) => self.word(*n),
            Value::Int(n) => self.word(*n as u32),
            Value::Long(n) => self.number(*n as u64),
            Value::Words(words) => self.words(words),
            Value::Bytes(bytes) => self.array(1, bytes, |w, b| w.bytes.push(*b)),
            Value::Texts(texts) => self.array(4, texts, |w, t| w.text(t)),
            Value::Pairs(pairs) => self.array(8, pairs, |w, (a, b)| {
                w.text(a);
                w.text(b);
            }),
        }
    }

    /// `a(sv)`
    pub fn properties<N: AsRef<str>>(&mut self, properties: &[(N, Value)]) {
        self.array(8, properties, |w, (name, value)| {
            let name = name.as_ref();
            w.text(name);
            w.variant(value);
        });
    }

    /// `au`
    pub fn words(&mut self, words: &[u32]) {
        self.array(4, words, |w, n| w.word(*n));
    }

    /// `a(sa(sv))` without elements: auxiliary units.
    pub fn no_units(&mut self) {
        self.array::<()>(8, &[], |_, ()| {});
    }
}

/// Where a call goes.
pub struct Call<'a> {
    /// The bus name; none on a private connection.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// Its interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The signature of `body`.
    pub signature: &'a str,
    /// The arguments.
    pub body: Writer,
}

/// A method call as bytes.
pub fn encode(serial: u32, call: &Call<'_>) -> Vec<u8> {
    let mut w = Writer { bytes: vec![b'l', 1, 0, 1] };
    w.word(call.body.bytes.len() as u32);
    w.word(serial);
    let mut fields = vec![(1_u8, "o", call.path), (2, "s", call.interface), (3, "s", call.member)];
    fields.extend(call.destination.map(|d| (6, "s", d)));
    if !call.signature.is_empty() {
        fields.push((8, "g", call.signature));
    }
    w.array(8, &fields, |w, (code, kind, value)| {
        w.bytes.push(*code);
        w.signature(kind);
        if *kind == "g" { w.signature(value) } else { w.text(value) }
    });
    w.align(8);
    w.bytes.extend_from_slice(&call.body.bytes);
    w.bytes
}

/// A received message, with the header fields that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// 2 a reply, 3 an error, 4 a signal.
    pub kind: u8,
    /// Of the call that is answered.
    pub reply_to: Option<u32>,
    /// The error's name.
    pub error: Option<String>,
    /// The signal's name.
    pub member: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// How many bytes a message has, by its first sixteen. None: this is no message of ours to read.
pub fn total_length(head: &[u8; 16]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?) as usize);
    let (body, fields) = (word(4)?, word(12)?);
    let sane = head[0] == b'l' && body < 1 << 27 && fields < 1 << 26;
    sane.then(|| (16 + fields).next_multiple_of(8) + body)
}

/// Reads a whole message.
pub fn decode(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { bytes, at: 4 };
    let body_length = reader.word()? as usize;
    reader.word()?;
    let fields_end = reader.word()? as usize + 16;
    let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
    while reader.at < fields_end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?.as_str()) {
            (4, "s") => message.error = Some(reader.text()?),
            (5, "u") => message.reply_to = Some(reader.word()?),
            (3, "s") => message.member = Some(reader.text()?),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.word()?),
            _ => return None,
        }
    }
    let start = fields_end.next_multiple_of(8);
    message.body = bytes.get(start..start + body_length)?.to_vec();
    Some(message)
}

/// Reads values of a body, which begins aligned.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Reader { bytes: body, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// `u`
    pub fn word(&mut self) -> Option<u32> {
        self.align(4);
        let word = self.bytes.get(self.at..self.at + 4)?.try_into().ok()?;
        self.at += 4;
        Some(u32::from_le_bytes(word))
    }

    /// `s` or `o`
    pub fn text(&mut self) -> Option<String> {
        let length = self.word()? as usize;
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        String::from_utf8(text.to_vec()).ok()
    }

    /// `g`, or the signature before a variant's value.
    pub fn signature(&mut self) -> Option<String> {
        let length = self.byte()? as usize;
        let text = self.bytes.get(self.at..self.at + length)?;
        self.at += length + 1;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut body = Writer::default();
        body.text("a.scope");
        body.text("replace");
        body.properties(&[
            ("PIDs", Value::Words(vec![7])),
            ("Delegate", Value::Bool(true)),
            ("MemoryMax", Value::Number(1 << 40)),
            ("DeviceAllow", Value::Pairs(vec![("/dev/null".into(), "rwm".into())])),
            ("AllowedCPUs", Value::Bytes(vec![5])),
        ]);
        body.no_units();
        encode(
            3,
            &Call {
                destination: Some("org.freedesktop.systemd1"),
                path: "/org/freedesktop/systemd1",
                interface: "org.freedesktop.systemd1.Manager",
                member: "StartTransientUnit",
                signature: "ssa(sv)a(sa(sv))",
                body,
            },
        )
    }

    /// The length in the header must be the length on the wire, or the connection is lost.
    #[test]
    fn a_call_reads_back() {
        let bytes = call();
        assert_eq!(total_length(bytes[..16].try_into().unwrap()), Some(bytes.len()));
        let message = decode(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_deref()), (1, Some("StartTransientUnit")));
        let mut body = Reader::new(&message.body);
        assert_eq!(body.text().as_deref(), Some("a.scope"));
        assert_eq!(body.text().as_deref(), Some("replace"));
    }

    /// Whatever a peer sends, reading it ends.
    #[test]
    fn cut_messages_are_refused() {
        let bytes = call();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
    }
}

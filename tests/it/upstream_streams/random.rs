//! Mutated streams, reproducible from a seed.

/// Pseudorandom numbers (xorshift64*): the same seed yields the same sequence.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below `end`, or 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).expect("small")
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Replacements for a value, a name or a part of one.
const SPLICES: &[&str] = &[
    "null",
    "0",
    "-1",
    "1e999",
    "-0.0",
    "18446744073709551616",
    "99999999999999999999999999",
    "4294967295",
    "1024",
    "\"\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u2028\"",
    "\"\\u0000\"",
    "\\",
    "\\\"",
    "\"",
    "{}",
    "[]",
    "[null]",
    "[[[[",
    "}}",
    "{\"a\":",
    ",",
    ":",
    "true",
    "\u{2028}",
    "\u{85}",
    "\u{202E}",
    "é\u{301}",
    "👩‍👩‍👧",
    "\u{FEFF}",
    "\0",
    "\"error\":null,",
    "\"error\":{},",
    "\"index\":1,",
    "\"role\":\"user\",",
    "\"content\":\"twice\",",
    "\"usage\":{},",
    "\"choices\":[],",
    "\"finish_reason\":\"length\",",
    "\"delta\":null,",
    "\"x\\u2028\":1,",
    "\"id\":7,",
    "\"created\":1.5,",
];

/// Lines that are inserted anywhere in a stream.
const LINES: &[&str] =
    &["", ":", "data", "data:", "data: [DONE]", "data: {}", "event: error", "id: 1", "\r", "data: null"];

/// One of `seeds` with one to four mutations.
pub fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        mutate(random, &mut stream, seeds);
    }
    stream
}

fn mutate(random: &mut Random, stream: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(stream.len());
    match random.below(9) {
        0 if !stream.is_empty() => stream[at] ^= 1 << random.below(8),
        1 => stream.truncate(at),
        2 => {
            let end = at + random.below((stream.len() - at).min(40));
            stream.drain(at..end);
        }
        3 => {
            let splice = random.pick(SPLICES).bytes();
            stream.splice(at..at, splice);
        }
        // Replaces a value: the bytes between two JSON delimiters.
        4 => {
            let mark = |byte: &u8| b":,[{}]".contains(byte);
            let start = stream[at..].iter().position(mark).map_or(at, |start| at + start + 1);
            let end = stream[start..].iter().position(mark).map_or(start, |end| start + end);
            let splice = random.pick(SPLICES).bytes();
            stream.splice(start..end, splice);
        }
        5..8 => {
            let mut lines: Vec<Vec<u8>> = stream.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            match random.below(4) {
                0 => lines.insert(one, lines[other].clone()),
                1 => lines.swap(one, other),
                2 => lines.insert(one, random.pick(LINES).as_bytes().to_vec()),
                _ => _ = lines.remove(one),
            }
            *stream = lines.join(&b'\n');
        }
        // Appends the rest of another answer.
        _ => {
            let other = &seeds[random.below(seeds.len())];
            stream.truncate(at);
            stream.extend_from_slice(&other[random.below(other.len())..]);
        }
    }
}

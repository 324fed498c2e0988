//! The text of a token: its number and the time of its write, ` ~000017:0000123456789~`. JSON does not escape any of
//! its characters, and no peer sends a tilde elsewhere.

use std::time::Instant;

pub const WIDTH: usize = 23;

/// Writes a marker. `into` must have exactly its length.
pub fn write(into: &mut [u8], number: u32, nanos: u64) {
    into.copy_from_slice(b" ~000000:0000000000000~");
    digits(&mut into[2..8], number.into());
    digits(&mut into[9..22], nanos);
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

pub fn nanos(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Finds markers in a text whose pieces may be split anywhere.
#[derive(Default)]
pub struct Scanner {
    is_inside: bool,
    number: u64,
    figure: u64,
}

impl Scanner {
    /// Calls `found` with the number and the time of each marker.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(u32, u64)) {
        while !bytes.is_empty() {
            if !self.is_inside {
                let Some(at) = memchr::memchr(b'~', bytes) else { return };
                bytes = &bytes[at + 1..];
                *self = Self { is_inside: true, number: 0, figure: 0 };
            }
            let mut used = 0;
            for byte in bytes {
                used += 1;
                match byte {
                    b'0'..=b'9' => self.figure = self.figure.wrapping_mul(10) + u64::from(byte - b'0'),
                    b':' => (self.number, self.figure) = (self.figure, 0),
                    _ => {
                        self.is_inside = false;
                        if *byte == b'~' {
                            found(u32::try_from(self.number).unwrap_or(u32::MAX), self.figure);
                        }
                        break;
                    }
                }
            }
            bytes = &bytes[used..];
        }
    }
}

//! Stores many texts end to end.

use std::ops::Range;

/// Texts in blocks. Stored texts are never moved to make room for more: to copy an answer of some megabytes blocks the
/// other streams of its thread for tens of milliseconds.
pub struct Arena {
    blocks: Vec<TextBlock>,
}

/// A contiguous run of texts; no text spans two blocks.
struct TextBlock {
    /// The offset of its first byte among the bytes of all blocks.
    start: u32,
    texts: String,
}

/// Bytes of a block: it ends at the first text that does not fit. A longer text has a block to itself.
const BLOCK_BYTES: usize = 64 * 1024;
/// Initial bytes of the first block, which grows: most answers are short.
const FIRST_BLOCK_BYTES: usize = 128;
/// Bytes up to which a copy costs next to nothing.
const COPIED_BYTES: usize = 16 * 1024;

impl Arena {
    pub const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Returns the bytes of all texts.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.start as usize + block.texts.len())
    }

    pub fn push(&mut self, text: &str) {
        match self.blocks.last_mut() {
            Some(block) if block.texts.len() + text.len() <= BLOCK_BYTES => block.texts.push_str(text),
            last => {
                let capacity = if last.is_some() { BLOCK_BYTES } else { FIRST_BLOCK_BYTES };
                let mut texts = String::with_capacity(capacity.max(text.len()));
                texts.push_str(text);
                let start = u32::try_from(self.len()).unwrap_or(u32::MAX);
                self.blocks.push(TextBlock { start, texts });
            }
        }
    }

    /// Returns the text at these bytes.
    pub fn get(&self, bytes: Range<u32>) -> Option<&str> {
        let after = self.blocks.partition_point(|block| block.start <= bytes.start);
        let block = self.blocks.get(after.checked_sub(1)?)?;
        block.texts.get((bytes.start - block.start) as usize..bytes.end.checked_sub(block.start)? as usize)
    }

    /// Frees spare capacity. Short blocks are copied, because an allocator does not move an allocation that shrinks
    /// only a little.
    pub fn fit(&mut self) {
        for TextBlock { texts, .. } in &mut self.blocks {
            if texts.len() <= COPIED_BYTES {
                *texts = texts.as_str().to_owned();
            }
            texts.shrink_to_fit();
        }
        self.blocks.shrink_to_fit();
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.blocks.iter().map(|block| block.texts.capacity()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_read_from_their_ranges() {
        let lengths = [
            0,
            1,
            7,
            BLOCK_BYTES,
            0,
            BLOCK_BYTES + 1,
            0,
            3,
            BLOCK_BYTES - 3,
            1,
            2 * BLOCK_BYTES,
            0,
            BLOCK_BYTES / 2 + 1,
            BLOCK_BYTES / 2,
        ];
        let many = vec![7; 30_000];
        for lengths in [&lengths[..], &lengths[3..], &lengths[5..], &many] {
            let (mut arena, mut ranges) = (Arena::new(), Vec::new());
            for (number, length) in (0..26_u8).cycle().zip(lengths.iter().copied()) {
                let text = char::from(b'a' + number).to_string().repeat(length);
                let start = u32::try_from(arena.len()).expect("small");
                arena.push(&text);
                ranges.push((start..u32::try_from(arena.len()).expect("small"), text));
            }
            for _ in 0..2 {
                assert!(ranges.iter().all(|(range, text)| arena.get(range.clone()) == Some(text)));
                arena.fit();
                assert_eq!(arena.capacity(), arena.len());
            }
        }
    }

    #[test]
    fn a_range_without_a_text_returns_none() {
        let mut arena = Arena::new();
        assert_eq!(arena.get(0..0), None);
        arena.push(&"x".repeat(BLOCK_BYTES));
        arena.push("yz");
        let end = u32::try_from(BLOCK_BYTES).expect("small");
        assert_eq!((arena.get(end - 1..end + 1), arena.get(end..end + 3)), (None, None));
        assert_eq!(arena.get(end..end + 2), Some("yz"));
    }
}

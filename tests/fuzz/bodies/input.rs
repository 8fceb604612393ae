//! Choices read out of bytes, so that any bytes are a sequence of commands.

/// Numbers at which arithmetic goes wrong.
const EXTREMES: [u64; 10] = [
    0,
    1,
    2,
    1_000,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    9_999_999_999,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// The bytes that are still unused; behind their end stand zeros.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn one_of<'b, T: ?Sized>(&mut self, choices: &[&'b T]) -> &'b T {
        choices[self.below(choices.len())]
    }

    /// A number: small, extreme, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            choice @ 0..=199 => u64::from(choice),
            choice @ 200..=249 => EXTREMES[usize::from(choice) % EXTREMES.len()],
            250.. => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// As [`Input::number`], at most `u32::MAX`.
    pub fn number_32(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    pub fn bits_128(&mut self) -> u128 {
        u128::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A text of up to 40 characters, which need not be letters; some are repeated into long ones.
    pub fn text(&mut self) -> String {
        let length = self.below(44);
        let bytes: Vec<u8> = (0..length.min(40)).map(|_| self.byte()).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if length > 40 { text.repeat(50) } else { text }
    }
}

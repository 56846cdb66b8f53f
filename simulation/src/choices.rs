//! The source of a simulation's choices. The source is a seed or the bytes of a fuzzer.

/// A reproducible sequence of numbers.
pub(super) enum Choices<'a> {
    #[cfg(test)]
    Seeded(u64),
    /// Choices from the bytes of a fuzzer. Each choice reads a number from the front of the bytes.
    /// After the last byte, all further numbers are 0.
    Given(&'a [u8]),
}

impl Choices<'_> {
    /// Returns `true` if all bytes have been used.
    pub(super) fn are_over(&self) -> bool {
        matches!(self, Self::Given([]))
    }

    /// Returns a number below `end`. Returns 0 if `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        match self {
            // The algorithm is SplitMix64.
            #[cfg(test)]
            Self::Seeded(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) % end.max(1)
            }
            // Read as few bytes as possible for a number, so that each byte of the input has an
            // effect.
            Self::Given(bytes) => {
                let mut number = 0;
                let mut detach = end.saturating_sub(1);
                while let Some((first, rest_of_bytes)) = bytes.split_first().filter(|_| detach > 0) {
                    number = number << 8 | u64::from(*first);
                    *bytes = rest_of_bytes;
                    detach >>= 8;
                }
                number % end.max(1)
            }
        }
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub(super) fn between(&mut self, first: u32, last: u32) -> u32 {
        first + u32::try_from(self.below(u64::from(last - first) + 1)).unwrap_or(0)
    }

    /// Returns `true` with a probability of `chance` percent.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Returns the index of a weight. The probability of an index is proportional to its weight.
    pub(super) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return at,
            }
        }
        0
    }
}

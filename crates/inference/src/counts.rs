//! How the token counts of backends are normalised.

use tithe_pricing::Usage;

/// Merges two reports of one completion. Some servers report running counts, some report several times, and some send a
/// trailing report of zeros: the larger of two reports of one count is the total.
pub(crate) fn larger(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Usage {
            input_tokens: one.input_tokens.max(other.input_tokens),
            cached_input_tokens: one.cached_input_tokens.max(other.cached_input_tokens),
            cache_write_tokens: one.cache_write_tokens.max(other.cache_write_tokens),
            cache_write_1h_tokens: one.cache_write_1h_tokens.max(other.cache_write_1h_tokens),
            output_tokens: one.output_tokens.max(other.output_tokens),
            reasoning_tokens: one.reasoning_tokens.max(other.reasoning_tokens),
        }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, ..Usage::ZERO }
    }

    #[test]
    fn the_larger_of_two_reports_wins_whatever_their_order() {
        for (one, other) in
            [(usage(9, 2), usage(9, 70)), (usage(9, 70), usage(0, 0)), (usage(9, 0), usage(0, 70))]
        {
            assert_eq!(larger(Some(one), Some(other)), Some(usage(9, 70)));
            assert_eq!(larger(Some(other), Some(one)), Some(usage(9, 70)));
        }
        assert_eq!(larger(None, Some(usage(1, 2))), Some(usage(1, 2)));
        assert_eq!(larger(Some(usage(1, 2)), None), Some(usage(1, 2)));
    }
}

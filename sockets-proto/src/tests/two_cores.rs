//! Two honest cores, whatever they do: no violation, one outcome for every request, in order, and all windows free
//! at the end. Every frame between them also passes a model of the window that was written from the protocol's text.

mod conversation;
mod model;

use proptest::{collection::vec, prelude::*};

use self::conversation::{Conversation, Operation, Setup};

fn settings() -> impl Strategy<Value = Setup> {
    let window = || (1..5u32, 1..150u32);
    (window(), window(), 200..2000usize)
        .prop_map(|(windows, others, queue)| Setup { windows: [windows, others], queue_limit: queue })
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{Advance, Broadcast, Cancel, Deliver, Emit, End, Request};
    let side = || 0..2usize;
    let size = || prop_oneof![3 => 0..20usize, 1 => 20..220usize];
    prop_oneof![
        4 => (side(), size(), any::<bool>(), 1..5000u64).prop_map(|(side, size, audience, timeout)| {
            Request { side, size, audience, timeout }
        }),
        3 => (side(), size()).prop_map(|(side, size)| Emit { side, size }),
        2 => (side(), size()).prop_map(|(side, size)| Broadcast { side, size }),
        8 => (side(), any::<bool>()).prop_map(|(side, suspends)| Deliver { side, suspends }),
        5 => (side(), any::<prop::sample::Index>(), size(), any::<bool>()).prop_map(|(side, which, size, fails)| {
            End { side, which, size, fails }
        }),
        1 => (side(), any::<prop::sample::Index>()).prop_map(|(side, which)| Cancel { side, which }),
        1 => (1..2000u64).prop_map(Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn honest_sides_never_break_the_protocol_and_every_request_ends_once(
        settings in settings(),
        operations in vec(operation(), 1..150),
    ) {
        let mut conversation = Conversation::new(&settings);
        for operation in &operations {
            conversation.apply(operation);
        }
        conversation.finish();
    }

    #[test]
    fn a_connection_that_breaks_leaves_no_request_without_an_outcome(
        settings in settings(),
        operations in vec(operation(), 1..80),
    ) {
        let mut conversation = Conversation::new(&settings);
        for operation in &operations {
            conversation.apply(operation);
        }
        conversation.break_off();
    }
}

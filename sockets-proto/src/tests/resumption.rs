//! Tests of positions, acknowledgements and resumption between two cores.

use std::time::Instant;

use bytes::Bytes;

use crate::{Event, Frame, PREFIX, Role, SendBuffer, SessionCore, Settings, frame::next_frame, window::WindowSize};

/// The number of bytes that each core retains. A core acknowledges a quarter of them.
const RETAINED: usize = 64;

fn core(role: Role) -> SessionCore<u32, u32> {
    let settings = Settings { max_frame: 1 << 20, window: WindowSize { calls: 4, bytes: 100 } };
    let mut core = SessionCore::new(role, settings, settings, 1 << 20);
    core.enable_resumption(RETAINED, RETAINED);
    core
}

/// Takes the frames of a buffer.
fn frames(buffer: &mut SendBuffer) -> Vec<Bytes> {
    let mut bytes = buffer.take_all();
    std::iter::from_fn(|| next_frame(&mut bytes)).collect()
}

/// Takes the frames that the core transmits.
fn transmitted(core: &mut SessionCore<u32, u32>) -> Vec<Bytes> {
    let mut buffer = SendBuffer::default();
    core.poll_transmit(&mut buffer);
    frames(&mut buffer)
}

/// An old peer does not know some of the optional frames that a new peer sends. Both peers must
/// count the bytes of these frames.
#[test]
fn unknown_optional_frames_have_positions() {
    let now = Instant::now();
    let (mut new, mut old) = (core(Role::Server), core(Role::Client));
    for kind in 0xf0..=0xff {
        new.send_control(Frame::Unknown { kind }, "report");
        for frame in transmitted(&mut new) {
            assert_eq!(old.handle(now, frame), Ok(Event::Handled));
        }
        for frame in transmitted(&mut old) {
            assert_eq!(new.handle(now, frame), Ok(Event::Acknowledged));
        }
    }
    let length = (PREFIX + 1 + "report".len()) as u64;
    let (received, _) = old.positions().expect("a session that can be resumed");
    assert_eq!(received, 16 * length);
    let (_, first_retained) = new.positions().expect("a session that can be resumed");
    assert!(first_retained > 0, "the new peer accepts acknowledgements");

    // The connection is lost together with two frames.
    for kind in [0xf0, 0xff] {
        new.send_control(Frame::Unknown { kind }, "report");
    }
    let lost = transmitted(&mut new);
    assert_eq!(lost.len(), 2);
    new.detach();
    old.detach();

    let position = new.positions().expect("a session that can be resumed").0;
    assert!(new.can_resume(received, 0) && old.can_resume(position, first_retained));
    let mut from_new = new.resume(now, received).expect("the frames are retained");
    let mut from_old = old.resume(now, position).expect("nothing was lost");
    let resent = frames(&mut from_new);
    assert_eq!(resent[..2], lost, "the lost frames are sent again");
    for frame in resent {
        old.handle(now, frame).expect("a correct frame");
    }
    for frame in frames(&mut from_old).into_iter().chain(transmitted(&mut old)) {
        assert_eq!(new.handle(now, frame), Ok(Event::Acknowledged));
    }
    assert_eq!(old.positions(), Some((18 * length, 0)));
    assert_eq!(new.positions(), Some((0, 18 * length)), "everything is acknowledged");
}

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets_simulation::frames_of_two_peers(bytes));

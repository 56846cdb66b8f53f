//! The contestants, one module each. A new one is a module, a line in [`with_contestant`] and one in [`ALL`].

pub mod by_hand;
pub mod jsonrpsee;
pub mod socket_io;
pub mod sockets;
pub mod tarpc;
pub mod tonic;

use crate::{contestant::Contestant, workloads::Workload};

/// Picks the contestant of this name: within the expression, `C` is its type.
macro_rules! with_contestant {
    ($name:expr, $C:ident => $run:expr) => {{
        use $crate::contestants::{
            by_hand::{Loop, Multiplexed, Queue},
            jsonrpsee::Jsonrpsee,
            socket_io::{SocketIo, Socketioxide},
            sockets::{OverTls, OverUnix, OverWs, Sockets},
            tarpc::Tarpc,
            tonic::Tonic,
        };
        $crate::contestants::with_contestant!(
            @among $name, $C, $run;
            Loop, Queue, Multiplexed, Sockets, OverUnix, OverTls, OverWs, Tarpc, Tonic, Jsonrpsee, Socketioxide, SocketIo
        )
    }};
    (@among $name:expr, $C:ident, $run:expr; $($Each:ident),+) => {
        match $name.as_str() {
            $(<$Each as $crate::contestant::Contestant>::NAME => {
                type $C = $Each;
                $run
            })+
            other => Err(anyhow::anyhow!("there is no contestant {other}")),
        }
    };
}
pub(crate) use with_contestant;

/// A contestant as the orchestrator sees it.
pub struct Entry {
    pub name: &'static str,
    pub does: fn(Workload) -> bool,
}

const fn entry<C: Contestant>() -> Entry {
    Entry { name: C::NAME, does: C::does }
}

/// In the order of the table. Ratios are to `loop`, the first.
pub const ALL: &[Entry] = &[
    entry::<by_hand::Loop>(),
    entry::<by_hand::Queue>(),
    entry::<by_hand::Multiplexed>(),
    entry::<sockets::Sockets>(),
    entry::<tarpc::Tarpc>(),
    entry::<tonic::Tonic>(),
    entry::<jsonrpsee::Jsonrpsee>(),
    entry::<socket_io::Socketioxide>(),
    entry::<socket_io::SocketIo>(),
];

/// The library over its other transports, which take part only if they are asked for.
pub const TRANSPORTS: &[Entry] =
    &[entry::<sockets::OverUnix>(), entry::<sockets::OverTls>(), entry::<sockets::OverWs>()];

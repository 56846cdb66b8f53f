//! The subjects. Each subject has its own module.
//!
//! A new subject needs a module, a line in [`with_subject`] and a line in [`ALL`].

pub mod by_hand;
pub mod jsonrpsee;
pub mod socket_io;
pub mod sockets;
pub mod tarpc;
pub mod tonic;

use crate::{subject::Subject, workloads::Workload};

/// Evaluates an expression in which `C` is the type of the subject with this name.
macro_rules! with_subject {
    ($name:expr, $C:ident => $run:expr) => {{
        use $crate::subjects::{
            by_hand::{Ideal, Multiplexed, Queue},
            jsonrpsee::Jsonrpsee,
            socket_io::{SocketIo, Socketioxide},
            sockets::{OverTls, OverUnix, OverWs, Sockets},
            tarpc::Tarpc,
            tonic::Tonic,
        };
        $crate::subjects::with_subject!(
            @select $name, $C, $run;
            Ideal, Queue, Multiplexed, Sockets, OverUnix, OverTls, OverWs, Tarpc, Tonic, Jsonrpsee, Socketioxide,
            SocketIo
        )
    }};
    (@select $name:expr, $C:ident, $run:expr; $($Each:ident),+) => {
        match $name.as_str() {
            $(<$Each as $crate::subject::Subject>::NAME => {
                type $C = $Each;
                $run
            })+
            other => Err(anyhow::anyhow!("unknown subject {other}")),
        }
    };
}
pub(crate) use with_subject;

/// A subject, as an entry in the list of the orchestrator.
pub struct Entry {
    pub name: &'static str,
    pub supports: fn(Workload) -> bool,
}

const fn entry<C: Subject>() -> Entry {
    Entry { name: C::NAME, supports: C::supports }
}

/// The subjects in the order of the table. All ratios refer to the first subject, `ideal`.
pub const ALL: &[Entry] = &[
    entry::<by_hand::Ideal>(),
    entry::<by_hand::Queue>(),
    entry::<by_hand::Multiplexed>(),
    entry::<sockets::Sockets>(),
    entry::<tarpc::Tarpc>(),
    entry::<tonic::Tonic>(),
    entry::<jsonrpsee::Jsonrpsee>(),
    entry::<socket_io::Socketioxide>(),
    entry::<socket_io::SocketIo>(),
];

/// The library over its other transports. These subjects run only if the user selects them by name.
pub const TRANSPORTS: &[Entry] =
    &[entry::<sockets::OverUnix>(), entry::<sockets::OverTls>(), entry::<sockets::OverWs>()];

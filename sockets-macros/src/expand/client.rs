//! `PurchasesClient<T>`: from method calls to the runtime.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{constant, fresh, type_check};
use crate::{
    check::RESERVED,
    model::{Group, Kind, Method, generated, respan_ident},
    types::{ArgumentPassing, Reply},
    unsupported::UnsupportedType,
};

/// What the stub's functions do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Call,
    /// Nothing: they are there to keep rustc from complaining, while other errors are reported.
    Skeleton,
}

/// What a stub calls, which decides what a request gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Peer,
    Audience,
}

/// What does not depend on the methods.
pub(crate) fn basics(group: &Group) -> TokenStream {
    let Group { krate, client, deprecated, .. } = group;
    let vis = group.vis();
    let name = client.to_string();
    quote! {
        impl<T> #client<T> {
            /// A stub for a client, a socket or a peer, or for an audience.
            #[must_use]
            #(#deprecated)*
            #vis fn new<C: #krate::Callable<Target = T> + ?::core::marker::Sized>(target: &C) -> Self {
                Self { stub: #krate::__private::Stub::new(target) }
            }

            /// The same stub, with a deadline for each of its requests.
            #[must_use]
            #vis fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
                Self { stub: self.stub.with_timeout(timeout) }
            }
        }

        #[automatically_derived]
        impl<T> ::core::fmt::Debug for #client<T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

/// The group's methods, for both kinds of targets.
pub(crate) fn stubs(group: &Group, body: Body) -> TokenStream {
    let Group { krate, client, methods, .. } = group;
    let identity = fresh(group, "I");
    // In a skeleton there may be methods that cannot be there: those called like another one, or like `new`.
    let here = |i: &usize| {
        let name = &methods[*i].name;
        let second = methods[..*i].iter().any(|earlier| earlier.name == *name && earlier.cfg.is_empty());
        body == Body::Call || !(second || RESERVED.contains(&name.as_str()))
    };
    let numbers = (0..methods.len()).filter(here);
    let on_peer = numbers.clone().map(|i| stub(group, i, Target::Peer, &identity, body));
    let on_audience = numbers.map(|i| stub(group, i, Target::Audience, &identity, body));
    quote! {
        impl #client<#krate::Peer> {
            #(#on_peer)*
        }

        impl<#identity: #krate::Identity> #client<#krate::Audience<#identity>> {
            #(#on_audience)*
        }
    }
}

/// One method of the stub.
fn stub(group: &Group, index: usize, target: Target, identity: &Ident, body: Body) -> TokenStream {
    let krate = &group.krate;
    let vis = group.vis();
    let method = &group.methods[index];
    let Method { cfg, docs, args, generics, .. } = method;
    let ident = respan_ident(&method.ident);
    // Empty, except in a skeleton.
    let conditions = &generics.where_clause;
    let line = (!method.documented()).then(|| {
        let line = describe(method, target);
        quote!(#[doc = #line])
    });
    let names = args.iter().map(|arg| respan_ident(&arg.ident));
    let params = args.iter().map(|arg| {
        let (name, ty) = (respan_ident(&arg.ident), &arg.ty);
        if let ArgumentPassing::Refused(UnsupportedType { meant: None, .. }) = &arg.pass {
            // Only in a skeleton: takes whatever the caller gives.
            quote!(#name: impl ::core::marker::Sized)
        } else {
            quote!(#name: #ty)
        }
    });
    let Output { ty: output, function } = output(krate, &method.kind, target, identity);
    let replies = match &method.kind {
        Kind::Request { reply: Reply::Value(ok), .. } => vec![ok],
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => vec![ok, err],
        _ => Vec::new(),
    };
    let wait = target == Target::Peer || matches!(method.kind, Kind::Emit { .. });
    let asyncness = wait.then(|| quote!(async));
    let constant = constant(index);
    // Errors of a type that borrows are shown at the reply.
    let at = generated(replies.last().map_or_else(|| ident.span(), Spanned::span));
    let body = match body {
        Body::Skeleton => quote!(::core::unimplemented!()),
        Body::Call => {
            let function = Ident::new(function, at);
            let wait = wait.then(|| quote_spanned!(at=> .await));
            let call = quote_spanned!(at=> self.stub.#function(#constant, &__sockets::Outgoing((#(#names,)*)).value()));
            let call = replies.iter().rev().fold(call, |call, ty| {
                let check = type_check(ty, "reply");
                quote_spanned!(generated(ty.span())=> #check.returns(#call))
            });
            quote_spanned!(at=> #call #wait)
        }
    };
    quote! {
        #(#cfg)* #(#docs)* #line
        #vis #asyncness fn #ident #generics (&self #(, #params)*) -> #output #conditions { #body }
    }
}

struct Output {
    ty: TokenStream,
    /// The runtime's function that gives it.
    function: &'static str,
}

fn output(krate: &syn::Path, kind: &Kind, target: Target, identity: &Ident) -> Output {
    let unit = syn::parse_quote!(());
    let (function, ok, err) = match kind {
        Kind::Emit { .. } => {
            let ty = quote!(::core::result::Result<(), #krate::CallError>);
            return Output { ty, function: "emit" };
        }
        Kind::Request { reply: Reply::Value(ok), .. } => ("request", ok, None),
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => ("try_request", ok, Some(err)),
        // Only in a skeleton.
        Kind::Request { reply: Reply::Refused(refusal), .. } => {
            ("request", refusal.meant.as_ref().unwrap_or(&unit), None)
        }
    };
    let ty = match (target, err) {
        (Target::Peer, None) => quote!(::core::result::Result<#ok, #krate::CallError>),
        (Target::Peer, Some(err)) => quote!(::core::result::Result<#ok, #krate::CallError<#err>>),
        (Target::Audience, None) => quote!(#krate::Replies<#identity, #ok>),
        (Target::Audience, Some(err)) => quote!(#krate::Replies<#identity, #ok, #err>),
    };
    Output { ty, function }
}

/// The documentation of a method that has none.
fn describe(method: &Method, target: Target) -> String {
    let name = &method.name;
    match (&method.kind, target) {
        (Kind::Emit { .. }, Target::Peer) => format!(" Emits `{name}`, which nobody waits for."),
        (Kind::Emit { .. }, Target::Audience) => format!(" Emits `{name}` to every member."),
        (Kind::Request { .. }, Target::Peer) => format!(" Calls `{name}` and waits for the reply."),
        (Kind::Request { .. }, Target::Audience) => {
            format!(" Calls `{name}` on every member; gives a stream of replies.")
        }
    }
}

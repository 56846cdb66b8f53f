//! The server type, such as `PurchasesServer<H>`. It passes received calls to the methods of the
//! handler.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use super::{fresh, literal, type_check};
use crate::{
    model::{Group, Kind, Method, generated, respan_ident},
    types::ArgumentPassing,
};

/// Returns the items of the server type that do not depend on the methods.
pub(crate) fn basics(group: &Group) -> TokenStream {
    let Group { server, deprecated, .. } = group;
    let vis = group.vis();
    let debug = format!("{server} {{ .. }}");
    quote! {
        impl<H> #server<H> {
            /// Serves the group with this handler.
            #[must_use]
            #(#deprecated)*
            #vis fn new(handler: H) -> Self {
                Self { handler: ::std::sync::Arc::new(handler) }
            }

            /// Serves the group with a shared handler.
            #[must_use]
            #(#deprecated)*
            #vis fn from_arc(handler: ::std::sync::Arc<H>) -> Self {
                Self { handler }
            }
        }

        #[automatically_derived]
        impl<H> ::core::clone::Clone for #server<H> {
            fn clone(&self) -> Self {
                Self { handler: ::core::clone::Clone::clone(&self.handler) }
            }
        }

        #[automatically_derived]
        impl<H> ::core::fmt::Debug for #server<H> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#debug)
            }
        }
    }
}

/// Returns the code that dispatches calls to methods.
pub(crate) fn service(group: &Group) -> TokenStream {
    let Group { krate, path, server, methods, .. } = group;
    let contract = group.ident();
    let handler = fresh(group, "H");
    let arms = methods.iter().map(|method| arm(contract, &handler, method));
    quote! {
        #[automatically_derived]
        impl<#handler: #contract> #krate::Service for #server<#handler> {
            const PATH: &'static str = #path;
            const METHODS: &'static [#krate::__private::Method] = __METHODS;

            fn start(&self, key: u64, call: #krate::__private::Responder, slot: &mut #krate::__private::HandlerSlot) {
                let handler = ::core::clone::Clone::clone(&self.handler);
                match key {
                    #(#arms)*
                    _ => { call.refuse(); }
                }
            }
        }
    }
}

/// Returns the match arm of a method. The code of the arm decodes the arguments, runs the handler
/// and encodes the reply.
fn arm(contract: &Ident, handler: &Ident, method: &Method) -> TokenStream {
    let Method { cfg, args, kind, .. } = method;
    let ident = respan_ident(&method.ident);
    let key = literal(method.key);
    // The arguments receive new names, since the user's names may also be names of variables in
    // this code.
    let names: Vec<_> = (0..args.len()).map(|i| format_ident!("arg{i}")).collect();
    let checks = args.iter().map(|arg| match &arg.pass {
        ArgumentPassing::Reference(target) => type_check(target, "sockets_reference"),
        ArgumentPassing::ByValue | ArgumentPassing::Refused(_) => type_check(&arg.ty, "sockets_value"),
    });
    let passed = names.iter().zip(args).map(|(name, arg)| match &arg.pass {
        ArgumentPassing::Reference(_) => quote!(&#name),
        ArgumentPassing::ByValue | ArgumentPassing::Refused(_) => quote!(#name),
    });
    let call = method.call.then(|| quote!((&call).call(),));
    // If a type cannot be decoded, encoded or shared, rustc reports the error at the method.
    let at = generated(ident.span());
    let run = quote_spanned!(at=> <#handler as #contract>::#ident(&handler, #call #(#passed),*).await);
    let complete = match kind {
        Kind::Request { .. } => {
            quote_spanned!(at=> let reply = #run; (&call).reply(__sockets::Outgoing(reply).sockets_value()).await)
        }
        Kind::Emit { .. } => quote_spanned!(at=> #run; (&call).done()),
    };
    let decode = quote_spanned!(at=> let (#(#names,)*) = (&call).decode_as(|| (#(#checks.name(),)*))?;);
    let arm = quote_spanned!(at=> #key => slot.put(async move { #decode #complete }),);
    quote!(#(#cfg)* #arm)
}

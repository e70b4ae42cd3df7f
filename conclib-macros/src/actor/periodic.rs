//! `#[periodic(tick = Beat, every = "500ms")]`: one entry of an actor's ticks.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Expr, LitStr, Path};

use crate::attr::{Crate, duration, duration_tokens, flag, place, read_options, value};

const OPTIONS: &[&str] = &[
    "tick",
    "every",
    "cron",
    "first",
    "missed",
    "jitter",
    "while_serving",
    "each_member",
];

const FIRST: &[&str] = &["now", "after"];
const MISSED: &[&str] = &["skip", "burst", "delay"];

const EXAMPLES: &str = "`#[periodic(tick = Beat, every = \"500ms\")]` or \
                        `#[periodic(tick = Beat, cron = \"0 */5 * * * *\")]`";

const FORMS: &str = "a tick is a struct that is written out: `Beat`, `Flush { all: true }` or \
                     `Wait(3)`";

/// A message, and when it is due.
pub(super) struct Periodic {
    /// Makes the message.
    tick: Expr,
    /// The message's type, read off the expression.
    message: Path,
    when: When,
    /// The variant of `First`.
    first: Ident,
    /// The variant of `Missed`.
    missed: Ident,
    jitter: Option<LitStr>,
    /// Ticks are left out while the system does not serve.
    while_serving: bool,
    /// Each member of a fleet ticks.
    each_member: bool,
}

/// The moments of the ticks: the variants of conclib's `When`.
enum When {
    Every(LitStr),
    Cron(LitStr),
}

impl Periodic {
    pub(super) fn parse(attribute: &Attribute) -> syn::Result<Self> {
        let (mut tick, mut every, mut cron) = (None::<Expr>, None, None);
        let (mut first, mut jitter) = (None, None);
        let mut missed = format_ident!("Skip");
        let (mut while_serving, mut each_member) = (false, false);
        read_options(attribute, OPTIONS, &mut Vec::new(), |option, meta| {
            match option {
                "tick" => tick = Some(value(meta, "tick = Beat")?),
                "every" => every = Some(value(meta, "every = \"500ms\"")?),
                "cron" => cron = Some(value(meta, "cron = \"0 */5 * * * *\"")?),
                "first" => first = Some(value(meta, "first = \"after\"")?),
                "missed" => missed = variant(&value(meta, "missed = \"skip\"")?, MISSED)?,
                "jitter" => jitter = Some(value(meta, "jitter = \"5s\"")?),
                "each_member" => each_member = flag(meta, "each_member")?,
                _ => while_serving = flag(meta, "while_serving")?,
            }
            Ok(())
        })?;
        let missing = |option: &str| {
            let problem = format!("{option} is missing: write for example {EXAMPLES}");
            syn::Error::new_spanned(attribute.path(), problem)
        };
        let tick = tick.ok_or_else(|| missing("`tick`"))?;
        let when = When::one_of(every, cron)?.ok_or_else(|| missing("`every` or `cron`"))?;
        let message = type_of(&tick)?;
        Ok(Self {
            tick,
            message,
            first: when.first(first.as_ref())?,
            when,
            missed,
            jitter,
            while_serving,
            each_member,
        })
    }

    pub(super) fn validate(&self) -> syn::Result<()> {
        match &self.when {
            When::Every(every) if duration(every)?.is_zero() => {
                return Err(syn::Error::new_spanned(
                    every,
                    "an interval must be longer than 0: write for example \"500ms\"",
                ));
            }
            When::Every(_) => {}
            When::Cron(expression) => cron(expression)?,
        }
        self.jitter.as_ref().map(duration).transpose()?;
        Ok(())
    }

    pub(super) fn message_type(&self) -> &Path {
        &self.message
    }

    /// The entry of `PeriodicActor::TICKS`.
    pub(super) fn expand(&self, krate: &Crate) -> TokenStream {
        let Self {
            tick,
            message,
            first,
            missed,
            ..
        } = self;
        let when = self.when.expand(krate);
        let jitter = self
            .jitter
            .as_ref()
            .and_then(|jitter| duration(jitter).ok());
        let jitter = duration_tokens(jitter.unwrap_or_default());
        let while_serving = self.while_serving.then(|| quote!(.while_serving()));
        let each_member = self.each_member.then(|| quote!(.each_member()));
        // The error about a missing handler points at the message.
        let place = place(message);
        let at = krate.at(place);
        let wrap = quote_spanned!(place=> #at::tick::<Self, #message>);
        quote! {
            #krate::Tick::new(
                <#message as #krate::ActorMessage>::NAME,
                #krate::Schedule::#when
                    .first(#krate::First::#first)
                    .missed(#krate::Missed::#missed)
                    .jitter(#jitter)
                    #while_serving
                    #each_member,
                || #wrap(#tick),
            )
        }
    }
}

impl When {
    fn one_of(every: Option<LitStr>, cron: Option<LitStr>) -> syn::Result<Option<Self>> {
        match (every, cron) {
            (Some(_), Some(cron)) => Err(syn::Error::new_spanned(
                cron,
                "a tick has an interval or a cron expression: write either `every` or `cron`",
            )),
            (every, cron) => Ok(every.map(Self::Every).or(cron.map(Self::Cron))),
        }
    }

    /// The variant of `First`.
    fn first(&self, first: Option<&LitStr>) -> syn::Result<Ident> {
        match (self, first) {
            (_, None) => Ok(format_ident!("Now")),
            (Self::Every(_), Some(first)) => variant(first, FIRST),
            (Self::Cron(_), Some(first)) => Err(syn::Error::new_spanned(
                first,
                "a cron expression says itself when the first tick is due: \
                 leave `first` out, or write `every` instead of `cron`",
            )),
        }
    }

    fn expand(&self, krate: &Crate) -> TokenStream {
        match self {
            Self::Every(every) => {
                let every = duration_tokens(duration(every).unwrap_or_default());
                quote!(every(#every))
            }
            Self::Cron(expression) => {
                quote!(calendar(#krate::Cron::from_static(#expression)))
            }
        }
    }
}

/// `Now` of `"now"`, if that is one of the `known`.
fn variant(literal: &LitStr, known: &[&str]) -> syn::Result<Ident> {
    let value = literal.value();
    if !known.contains(&value.as_str()) {
        let known: Vec<_> = known.iter().map(|name| format!("\"{name}\"")).collect();
        let problem = format!("write one of {}", known.join(", "));
        return Err(syn::Error::new_spanned(literal, problem));
    }
    let mut letters = value.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    Ok(format_ident!(
        "{}",
        first.into_iter().chain(letters).collect::<String>()
    ))
}

/// The type of a struct that is written out.
fn type_of(tick: &Expr) -> syn::Result<Path> {
    let path = match tick {
        Expr::Path(path) if path.qself.is_none() => Some(&path.path),
        Expr::Struct(literal) if literal.qself.is_none() => Some(&literal.path),
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) if path.qself.is_none() => Some(&path.path),
            _ => None,
        },
        Expr::Group(group) => return type_of(&group.expr),
        _ => None,
    };
    let path = path.ok_or_else(|| syn::Error::new_spanned(tick, FORMS))?;
    let mut names = path
        .segments
        .iter()
        .rev()
        .map(|segment| segment.ident.unraw().to_string());
    let is_type = |name: &String| name.starts_with(char::is_uppercase);
    // `Beat::new()` and `Job::Sweep` end in a function and in a variant.
    if names.next().is_some_and(|name| is_type(&name))
        && !names.next().is_some_and(|name| is_type(&name))
    {
        return Ok(path.clone());
    }
    Err(syn::Error::new_spanned(tick, FORMS))
}

/// Checks the cron expression in a literal, as `Schedule::cron` does when a program runs.
#[cfg(feature = "cron")]
fn cron(literal: &LitStr) -> syn::Result<()> {
    let wrong = |problem: &str| {
        let problem = problem.trim_end_matches('.');
        let problem =
            format!("not a cron schedule: {problem}; write for example \"0 */5 * * * *\"");
        syn::Error::new_spanned(literal, problem)
    };
    literal
        .value()
        .parse::<croner::Cron>()
        .map_err(|error| wrong(&error.to_string()))?
        .find_next_occurrence(&chrono::DateTime::UNIX_EPOCH, false)
        .map_err(|_| wrong("no such moment ever comes"))?;
    Ok(())
}

/// Rejects cron expressions: this build of conclib has no calendar.
#[cfg(not(feature = "cron"))]
fn cron(literal: &LitStr) -> syn::Result<()> {
    let problem = "`cron` needs conclib's feature `cron`, which this program was built without: \
                   write `features = [\"cron\"]` where it depends on conclib";
    Err(syn::Error::new_spanned(literal, problem))
}

#[cfg(all(test, not(feature = "cron")))]
mod tests {
    use proc_macro2::Span;

    use super::*;

    #[test]
    fn cron_needs_its_feature() {
        let literal = LitStr::new("0 */5 * * * *", Span::call_site());
        let error = cron(&literal).unwrap_err().to_string();
        assert!(error.contains("conclib's feature `cron`"), "{error}");
    }
}

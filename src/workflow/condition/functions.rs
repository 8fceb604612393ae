//! The functions of the dialect, and the arithmetic that differs from CEL's.
//!
//! The environment holds nothing else: what is not here cannot be called. Each is total, without
//! side effects, and linear in its arguments.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "CEL calls all functions alike"
)]

use std::sync::{Arc, LazyLock};

use cel::{
    Env, ExecutionError,
    common::{
        functions::Function as Op,
        types::{CelBool, CelDouble, CelNull, CelString, DYN_TYPE, Type},
        value::{CowVal, Val},
    },
};

use super::{
    reason,
    value::{Seen, field, seen},
};

type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The longest text that `+` may make: joining must not multiply a payload.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// One function, by the name under which conditions call it.
pub(super) struct Function {
    pub name: &'static str,
    /// Called as `x.name(...)`, where `x` counts as an argument.
    pub member: bool,
    /// How many arguments it may take.
    pub arguments: &'static [usize],
    op: Op,
}

/// What a condition may call.
pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "size", member: false, arguments: &[1], op: size },
    Function { name: "get", member: true, arguments: &[2, 3], op: get },
    Function { name: "startsWith", member: true, arguments: &[2], op: starts_with },
    Function { name: "endsWith", member: true, arguments: &[2], op: ends_with },
    Function { name: "contains", member: true, arguments: &[2], op: contains },
    Function { name: "truthy", member: false, arguments: &[1], op: truthy },
    Function { name: "within", member: false, arguments: &[2], op: within },
    Function { name: "labelled", member: false, arguments: &[3], op: labelled },
    Function { name: "spelled", member: false, arguments: &[2], op: spelled },
    Function { name: "subset", member: false, arguments: &[2], op: subset },
];

/// Operator of CEL, and the function that stands for it; its name cannot be written in CEL.
pub(super) const OPERATORS: &[(&str, Function)] = &[
    ("_+_", Function { name: "@add", member: false, arguments: &[2], op: add }),
    ("_-_", Function { name: "@subtract", member: false, arguments: &[2], op: subtract }),
    ("_*_", Function { name: "@multiply", member: false, arguments: &[2], op: multiply }),
    ("_/_", Function { name: "@divide", member: false, arguments: &[2], op: divide }),
    ("_%_", Function { name: "@remainder", member: false, arguments: &[2], op: remainder }),
];

/// Where conditions are evaluated.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default();
    for function in FUNCTIONS.iter().chain(OPERATORS.iter().map(|(_, function)| function)) {
        for &arguments in function.arguments {
            declare(&mut environment, function, arguments);
        }
    }
    Arc::new(environment)
});

fn declare(environment: &mut Env, function: &Function, arguments: usize) {
    let id = format!("{}_{arguments}", function.name);
    let declared = if function.member {
        environment.add_member_overload(
            function.name,
            &id,
            DYN_TYPE,
            any(arguments - 1),
            function.op,
        )
    } else {
        environment.add_overload(function.name, &id, any(arguments), function.op)
    };
    declared.expect("BUG: a function is declared once for each number of arguments");
}

/// The types of that many arguments: a function tells them apart itself, to say what it needs.
fn any(arguments: usize) -> Vec<Type> {
    std::iter::repeat_with(|| DYN_TYPE).take(arguments).collect()
}

fn boolean<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

fn number<'b, 'v>(value: f64) -> CowVal<'b, 'v> {
    CowVal::owned(CelDouble::from(value))
}

fn fault(message: String) -> ExecutionError {
    ExecutionError::FunctionError { function: String::new(), message }
}

/// That `needs` is not met by `value`.
fn unfit(needs: &str, value: &dyn Val) -> ExecutionError {
    fault(format!("{needs}, not {}", reason::kind(value.get_type().name())))
}

#[expect(clippy::cast_precision_loss, reason = "no payload has 2^53 elements")]
fn size<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let size = match seen(&*args[0]) {
        Some(Seen::Text(text)) => text.chars().count(),
        Some(Seen::List(items)) => items.inner().len(),
        Some(Seen::Object(fields)) => fields.inner().len(),
        Some(Seen::Null | Seen::Bool(_) | Seen::Number(_)) | None => {
            return Err(unfit("a size needs a text, list or object", &*args[0]));
        }
    };
    Ok(number(size as f64))
}

fn get<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let default = if args.len() == 3 { args.pop() } else { None };
    let Some(Seen::Text(name)) = seen(&*args[1]) else {
        return Err(unfit("`get` needs the name of a field", &*args[1]));
    };
    let value = match &args[0] {
        CowVal::Borrowed(object) => field_of(*object, name)?,
        CowVal::Owned(object) => {
            field_of(&**object, name)?.map(|value| CowVal::Owned(value.into_owned()))
        }
    };
    Ok(value.or(default).unwrap_or_else(|| CowVal::owned(CelNull)))
}

fn field_of<'b, 'v>(
    object: &'b (dyn Val + 'v),
    name: &str,
) -> Result<Option<CowVal<'b, 'v>>, ExecutionError> {
    match seen(object) {
        Some(Seen::Object(fields)) => Ok(field(fields, name)),
        _ => Err(unfit("`get` needs an object", object)),
    }
}

fn starts_with<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    of_texts("startsWith", &args, |text, part| text.starts_with(part))
}

fn ends_with<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    of_texts("endsWith", &args, |text, part| text.ends_with(part))
}

fn contains<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    of_texts("contains", &args, |text, part| text.contains(part))
}

fn of_texts<'b, 'v>(
    name: &str,
    args: &[CowVal<'b, 'v>],
    holds: impl Fn(&str, &str) -> bool,
) -> Answer<'b, 'v> {
    match (seen(&*args[0]), seen(&*args[1])) {
        (Some(Seen::Text(text)), Some(Seen::Text(part))) => Ok(boolean(holds(text, part))),
        (Some(Seen::Text(_)), _) => Err(unfit(&format!("`{name}` needs a text"), &*args[1])),
        _ => Err(unfit(&format!("`{name}` needs a text"), &*args[0])),
    }
}

fn truthy<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let truth = match seen(&*args[0]) {
        Some(Seen::Null) | None => false,
        Some(Seen::Bool(value)) => value,
        Some(Seen::Number(number)) => number != 0.0,
        Some(Seen::Text(text)) => !text.is_empty(),
        Some(Seen::List(items)) => !items.inner().is_empty(),
        Some(Seen::Object(fields)) => !fields.inner().is_empty(),
    };
    Ok(boolean(truth))
}

fn within<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (part, whole) = (&*args[0], &*args[1]);
    let found = match (seen(part), seen(whole)) {
        (_, Some(Seen::List(items))) => items.inner().iter().any(|item| part.equals(&**item)),
        (Some(Seen::Text(name)), Some(Seen::Object(fields))) => field(fields, name).is_some(),
        (_, Some(Seen::Object(_))) => false,
        (Some(Seen::Text(part)), Some(Seen::Text(text))) => text.contains(part),
        (_, Some(Seen::Text(_))) => return Err(unfit("only a text is `in` a text", part)),
        _ => return Err(unfit("`in` needs a list, object or text", whole)),
    };
    Ok(boolean(found))
}

fn labelled<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let Some(Seen::Text(label)) = seen(&*args[2]) else {
        return Err(unfit("a label is a text", &*args[2]));
    };
    let failed = matches!(seen(&*args[0]), Some(Seen::Text("error")));
    let is_label = |value: &dyn Val| matches!(seen(value), Some(Seen::Text(text)) if text == label);
    let holds = match seen(&*args[1]) {
        Some(Seen::Object(fields)) => {
            let names: &[&str] = if failed { &["kind"] } else { &["status", "type"] };
            names.iter().any(|name| field(fields, name).is_some_and(|value| is_label(&*value)))
        }
        _ => !failed && is_label(&*args[1]),
    };
    Ok(boolean(holds))
}

fn spelled<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let Some(Seen::Text(spelling)) = seen(&*args[1]) else {
        return Err(unfit("a spelling is a text", &*args[1]));
    };
    let holds = match seen(&*args[0]) {
        Some(Seen::Text(text)) => text == spelling,
        Some(Seen::Bool(value)) => spelling == if value { "True" } else { "False" },
        Some(Seen::Null) => spelling == "None",
        Some(Seen::Number(number)) => spellings(number).iter().any(|it| it == spelling),
        Some(Seen::List(_) | Seen::Object(_)) | None => false,
    };
    Ok(boolean(holds))
}

/// How Python spells `number`: as the float, and as the integer, that it may have been before it
/// travelled as a float.
fn spellings(number: f64) -> Vec<String> {
    let shortest = format!("{number:?}");
    let float = match shortest.split_once('e') {
        Some((digits, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{digits}e-{power:0>2}"),
            None => format!("{digits}e+{power:0>2}"),
        },
        None => shortest,
    };
    if number.fract() == 0.0 { vec![float, format!("{:.0}", number + 0.0)] } else { vec![float] }
}

fn subset<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(boolean(has_subset(&*args[0], &*args[1])))
}

fn has_subset(value: &dyn Val, wanted: &dyn Val) -> bool {
    match (seen(value), seen(wanted)) {
        (Some(Seen::Object(fields)), Some(Seen::Object(wanted))) => {
            wanted.inner().iter().all(|(name, wanted)| {
                fields.inner().get(name).is_some_and(|value| has_subset(&**value, &**wanted))
            })
        }
        _ => value.equals(wanted),
    }
}

fn add<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    match (seen(&*args[0]), seen(&*args[1])) {
        (Some(Seen::Number(left)), Some(Seen::Number(right))) => Ok(number(left + right)),
        (Some(Seen::Text(left)), Some(Seen::Text(right))) => {
            if left.len() + right.len() > JOINED_BYTES_MAX {
                return Err(fault("`+` would make a text of over 64 KiB".to_owned()));
            }
            Ok(CowVal::owned(CelString::from(format!("{left}{right}"))))
        }
        (Some(Seen::Number(_) | Seen::Text(_)), _) => {
            Err(unfit("`+` needs two numbers or two texts", &*args[1]))
        }
        _ => Err(unfit("`+` needs two numbers or two texts", &*args[0])),
    }
}

fn subtract<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (left, right) = numbers("-", &args)?;
    Ok(number(left - right))
}

fn multiply<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (left, right) = numbers("*", &args)?;
    Ok(number(left * right))
}

fn divide<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    match numbers("/", &args)? {
        (_, 0.0) => Err(fault("it divides by zero".to_owned())),
        (left, right) => Ok(number(left / right)),
    }
}

fn remainder<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (left, right) = numbers("%", &args)?;
    if right == 0.0 {
        return Err(fault("it divides by zero".to_owned()));
    }
    let remainder = left % right;
    let wrong_sign = remainder != 0.0 && (remainder < 0.0) != (right < 0.0);
    Ok(number(if wrong_sign { remainder + right } else { remainder }))
}

fn numbers(operator: &str, args: &[CowVal<'_, '_>]) -> Result<(f64, f64), ExecutionError> {
    match (seen(&*args[0]), seen(&*args[1])) {
        (Some(Seen::Number(left)), Some(Seen::Number(right))) => Ok((left, right)),
        (Some(Seen::Number(_)), _) => Err(unfit(&format!("`{operator}` needs numbers"), &*args[1])),
        _ => Err(unfit(&format!("`{operator}` needs numbers"), &*args[0])),
    }
}

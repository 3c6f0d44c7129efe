//! The expression tree.

use regex::Regex;

use super::number::Number;
use super::temporal::Temporal;

/// An expression. Paths and calls without an input work on `$this`.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// `$this`
    This,
    /// `$index`
    Index,
    /// `$total`
    Total,
    /// `{}`
    Empty,
    Boolean(bool),
    Integer(i64),
    Decimal(Number),
    /// A text, and the pattern that it is where a function takes one.
    Text(String, Option<Box<Pattern>>),
    Temporal(Temporal),
    Quantity(Number, String),
    /// `%name`
    Variable(String),
    /// The input, if it is of this type: `Patient` in `Patient.name`.
    Type(String),
    /// Children of children, depth first: the same order as step by step.
    Path(Option<Box<Expr>>, Vec<String>),
    At(Box<Expr>, Box<Expr>),
    Call(Option<Box<Expr>>, Function, Vec<Expr>),
    /// `is`, `as` and `ofType`, as operator or function.
    Typed(Option<Box<Expr>>, TypeTest, TypeName),
    Negate(Box<Expr>),
    /// Unary plus: a number as it is.
    Plus(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Union(Vec<Expr>),
}

/// Compiled patterns: anywhere in the text, and the whole of it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub anywhere: Regex,
    pub whole: Regex,
}

/// What is asked of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeTest {
    Is,
    As,
    OfType,
}

/// A type as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeName {
    /// `Some(true)` is `System`, `Some(false)` is `FHIR`.
    pub system: Option<bool>,
    pub name: String,
}

/// Binary operators, but for the union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Concatenate,
    Multiply,
    Divide,
    Div,
    Mod,
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// The functions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)* }

        impl Function {
            /// The function of this name, with how many arguments it takes.
            pub fn named(name: &str) -> Option<(Self, usize, usize)> {
                match name {
                    $($name => Some((Self::$variant, $least, $most)),)*
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

functions! {
    Empty "empty" 0 0,
    Exists "exists" 0 1,
    All "all" 1 1,
    AllTrue "allTrue" 0 0,
    AnyTrue "anyTrue" 0 0,
    AllFalse "allFalse" 0 0,
    AnyFalse "anyFalse" 0 0,
    SubsetOf "subsetOf" 1 1,
    SupersetOf "supersetOf" 1 1,
    Count "count" 0 0,
    Distinct "distinct" 0 0,
    IsDistinct "isDistinct" 0 0,
    Where "where" 1 1,
    Select "select" 1 1,
    Repeat "repeat" 1 1,
    RepeatAll "repeatAll" 1 1,
    Single "single" 0 0,
    First "first" 0 0,
    Last "last" 0 0,
    Tail "tail" 0 0,
    Skip "skip" 1 1,
    Take "take" 1 1,
    Intersect "intersect" 1 1,
    Exclude "exclude" 1 1,
    Union "union" 1 1,
    Combine "combine" 1 2,
    Coalesce "coalesce" 1 32,
    Iif "iif" 2 3,
    ToBoolean "toBoolean" 0 0,
    ToInteger "toInteger" 0 0,
    ToDecimal "toDecimal" 0 0,
    ToText "toString" 0 0,
    ToDate "toDate" 0 0,
    ToDateTime "toDateTime" 0 0,
    ToTime "toTime" 0 0,
    ToQuantity "toQuantity" 0 1,
    ConvertsToBoolean "convertsToBoolean" 0 0,
    ConvertsToInteger "convertsToInteger" 0 0,
    ConvertsToDecimal "convertsToDecimal" 0 0,
    ConvertsToText "convertsToString" 0 0,
    ConvertsToDate "convertsToDate" 0 0,
    ConvertsToDateTime "convertsToDateTime" 0 0,
    ConvertsToTime "convertsToTime" 0 0,
    ConvertsToQuantity "convertsToQuantity" 0 1,
    IndexOf "indexOf" 1 1,
    LastIndexOf "lastIndexOf" 1 1,
    Substring "substring" 1 2,
    StartsWith "startsWith" 1 1,
    EndsWith "endsWith" 1 1,
    Contains "contains" 1 1,
    Upper "upper" 0 0,
    Lower "lower" 0 0,
    Replace "replace" 2 2,
    Matches "matches" 1 1,
    MatchesFull "matchesFull" 1 1,
    ReplaceMatches "replaceMatches" 2 2,
    Length "length" 0 0,
    ToChars "toChars" 0 0,
    Encode "encode" 1 1,
    Decode "decode" 1 1,
    Escape "escape" 1 1,
    Unescape "unescape" 1 1,
    Trim "trim" 0 0,
    Split "split" 1 1,
    Join "join" 0 1,
    Abs "abs" 0 0,
    Ceiling "ceiling" 0 0,
    Exp "exp" 0 0,
    Floor "floor" 0 0,
    Ln "ln" 0 0,
    Log "log" 1 1,
    Power "power" 1 1,
    Round "round" 0 1,
    Sqrt "sqrt" 0 0,
    Truncate "truncate" 0 0,
    Children "children" 0 0,
    Descendants "descendants" 0 0,
    Trace "trace" 1 2,
    Now "now" 0 0,
    Today "today" 0 0,
    TimeOfDay "timeOfDay" 0 0,
    Not "not" 0 0,
    Aggregate "aggregate" 1 2,
    Type "type" 0 0,
    Sort "sort" 0 8,
    LowBoundary "lowBoundary" 0 1,
    HighBoundary "highBoundary" 0 1,
    Precision "precision" 0 0,
    Comparable "comparable" 1 1,
    Extension "extension" 1 1,
    HasExtension "hasExtension" 1 1,
    HasValue "hasValue" 0 0,
    GetValue "getValue" 0 0,
    Resolve "resolve" 0 0,
    MemberOf "memberOf" 1 1,
    Subsumes "subsumes" 1 1,
    SubsumedBy "subsumedBy" 1 1,
    HtmlChecks "htmlChecks" 0 0,
    ConformsTo "conformsTo" 1 1,
    CheckModifiers "checkModifiers" 0 32,
}

impl Expr {
    /// The type that the expression starts from, where it names one.
    pub fn root_type(&self) -> Option<&str> {
        match self {
            Self::Type(name) => Some(name),
            Self::Path(Some(inner), _)
            | Self::At(inner, _)
            | Self::Call(Some(inner), ..)
            | Self::Typed(Some(inner), ..) => inner.root_type(),
            _ => None,
        }
    }

    /// Whether the order of its items is not defined.
    pub fn is_unordered(&self) -> bool {
        matches!(self, Self::Call(_, Function::Children | Function::Descendants, _))
    }

    /// Levels of the tree.
    pub fn height(&self) -> usize {
        let inner = |expr: &Option<Box<Self>>| expr.as_ref().map_or(0, |expr| expr.height());
        1 + match self {
            Self::Path(input, _) | Self::Typed(input, ..) => inner(input),
            Self::Call(input, _, arguments) => {
                arguments.iter().map(Self::height).max().unwrap_or(0).max(inner(input))
            }
            Self::At(left, right) | Self::Binary(_, left, right) => {
                left.height().max(right.height())
            }
            Self::Negate(inner) | Self::Plus(inner) => inner.height(),
            Self::Union(parts) => parts.iter().map(Self::height).max().unwrap_or(0),
            _ => 0,
        }
    }
}

"""What draws a factor: data, a prior, another distribution's sample or a row, and whether it can."""

from collections.abc import Iterator, Sequence

from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.diagnostics import Diagnostic, Note, counted, did_you_mean
from ammgraph.plan.draws import FromPrior, Site
from ammgraph.plan.networks import VariablePlan, shape_text
from ammgraph.spec.data_sets import DATA_SETS, TABLES, WITH_LISTS, may_hold
from ammgraph.spec.notation import Factor, Reference
from ammgraph.spec.priors import Mixture, Prior, Probabilities, RandomMeans, forms_on
from ammgraph.spec.schema import Data, DataSource, Spec
from ammgraph.spec.sources import BayesRule, Enumeration

FIELD_KINDS = {"image": "image", "label": "categorical", "vector": "real"}


def check_origins(resolved: Resolved) -> Iterator[Diagnostic]:
    """Each factor's origin can draw it."""
    for factor in (factor for factors in resolved.written.values() for factor in factors):
        if all(name in resolved.variables for name in factor.factor.variables + factor.factor.given):
            yield from _origin_fits(resolved, factor)


def field_of(data: Data, variable: VariablePlan) -> str | None:
    """The field of a record that a variable takes: as declared, else by its type (R12).

    A real variable takes the vector where some factor takes it from data that may have one.
    """
    by_type = {kind: field for field, kind in FIELD_KINDS.items()}
    vector = variable.vector and may_hold(data.dataset, "vector")
    implied = by_type[variable.kind] if variable.kind != "real" or vector else None
    return implied if variable.name in data.named_fields else data.fields.get(variable.name, implied)


def names_in(data: Data, variables: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The variables that are arrays or columns of a user's own names, each with its name."""
    named = data.named_fields
    return tuple((name, named[name]) for name in variables if name in named)


def _origin_fits(resolved: Resolved, factor: Declared) -> Iterator[Diagnostic]:
    spec, source, head = resolved.spec, factor.source, factor.factor
    span = spec.source.value(*factor.path)
    if isinstance(source, DataSource):
        yield from _data_fits(resolved, factor)
        return
    if len(head.variables) != 1:
        yield Diagnostic(
            "wrong-origin",
            f"`{head}` draws {len(head.variables)} variables at once, which only data can",
            span,
            found=f"`{source}`",
            expected="one factor for each variable",
        )
        return
    if isinstance(source, Enumeration | BayesRule):
        yield from _enumeration_fits(resolved, factor)
    elif isinstance(source, Reference) and source.owner in resolved.declared:
        yield from _sample_fits(resolved, factor, source)
    elif isinstance(source, Reference):
        yield from _row_fits(resolved, factor, source)
    elif isinstance(source, Mixture):
        yield from _mixture_fits(resolved, factor, source)
    else:
        if head.given:
            yield Diagnostic(
                "wrong-origin",
                f"`{head}` has conditions, but `{source}` reads none",
                span,
                expected=f"`{Factor(head.head, head.variables)}`, or a network's row",
            )
        yield from _support_fits(spec, factor, resolved.variables[head.variables[0]])


def _data_fits(resolved: Resolved, factor: Declared) -> Iterator[Diagnostic]:
    spec, variables, head, source = resolved.spec, resolved.variables, factor.factor, factor.source
    span = spec.source.value(*factor.path)
    assert isinstance(source, DataSource)
    data, path = spec.data_sets[source.of], spec.data_path(source.of)
    if head.given:
        yield Diagnostic(
            "wrong-origin", f"`{head}` has conditions, but data reads none", span, expected="a factor without `|`"
        )
    if source.part != "all" and data.labeled is None:
        yield Diagnostic(
            "no-labels",
            f"`{factor.source}` needs labelled examples, and none are declared",
            span,
            expected=f"`labeled: {{count: N}}` in `{'.'.join(path)}`",
            notes=(Note(f"`{'.'.join(path)}` stands here", spec.source.key(*path)),),
        )
    taken: dict[str, str] = {}
    for name in head.variables:
        field, own = field_of(data, variables[name]), dict(names_in(data, (name,))).get(name)
        wrong = _field_fits(spec, factor, variables[name], field, own, taken.get(own or field or ""))
        if wrong is not None:
            yield wrong
        else:
            taken[own or field or ""] = name
            yield from _data_shape_fits(spec, variables[name], source.of)


def _field_fits(
    spec: Spec, factor: Declared, variable: VariablePlan, field: str | None, own: str | None, other: str | None
) -> Diagnostic | None:
    """Whether a record has such a field; `own` is its array or column, `other` the variable that has taken it."""
    assert isinstance(factor.source, DataSource)
    data, path, name = spec.data_sets[factor.source.of], spec.data_path(factor.source.of), variable.name
    span = spec.source.value(*factor.path)
    if field is not None and variable.kind != FIELD_KINDS[field]:
        return Diagnostic(
            "data-mismatch",
            f"`{name}` takes the {field} of a record, but is of type {variable.kind}",
            spec.source.value(*path, "fields", name),
            expected=f"`{name}` with `type: {FIELD_KINDS[field]}`",
        )
    if field is None:
        return Diagnostic(
            "wrong-origin",
            f"`{name}` is a real vector, and the data has no such field",
            span,
            found="fields `image` and `label`",
            expected="an image or a categorical variable",
        )
    if other is not None:
        return Diagnostic(
            "wrong-origin",
            f"`{other}` and `{name}` are both the {own or field} of one record",
            span,
            expected="one variable for each field",
            hint="`data.fields` gives each an array or a column of its own; factors of their own draw independent "
            "records",
        )
    if field == "label" and own is None and data.dataset in TABLES and data.label is None:
        return Diagnostic(
            "no-labels",
            f"`{name}` takes the label of a record, and no column is one",
            span,
            expected=f"`label: NAME` in `{'.'.join(path)}`, the name of the column",
            notes=(Note(f"`{'.'.join(path)}` stands here", spec.source.key(*path)),),
        )
    if field == "image" and not may_hold(data.dataset, "image"):
        known = DATA_SETS.get(data.dataset)
        return Diagnostic(
            "wrong-origin",
            f"`{name}` is an image, and the data has no such field",
            span,
            found="fields `vector` and `label`",
            expected=f"`{name}: {{type: real, size: {known.shape[0] if known else 'N'}}}`",
        )
    return None


def _data_shape_fits(spec: Spec, variable: VariablePlan, of: str) -> Iterator[Diagnostic]:
    data, path = spec.data_sets[of], spec.data_path(of)
    known, columns = DATA_SETS.get(data.dataset), data.columns
    if names_in(data, (variable.name,)):
        return
    lists = data.dataset in WITH_LISTS  # a column may be several numbers
    if (
        variable.vector
        and columns is not None
        and not (len(columns) <= variable.shape[0] if lists else len(columns) == variable.shape[0])
    ):
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` has another size than there are columns",
            spec.source.value("variables", variable.name, "size"),
            found=str(variable.shape[0]),
            expected=f"`size: {len(columns)}`{', or more where cells are lists' if lists else ''}",
            notes=(Note("the columns are named here", spec.source.value(*path, "columns")),),
        )
    if known is None:
        return
    note = (Note("the data set is chosen here", spec.source.value(*path, "dataset")),)
    shape = data.example_shape or known.shape
    if variable.vector and variable.shape != shape:
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` has another size than the vectors of `{data.dataset}`",
            spec.source.value("variables", variable.name, "size"),
            found=str(variable.shape[0]),
            expected=f"`size: {known.shape[0]}`",
            notes=note,
        )
    if variable.kind == "image" and variable.shape != shape:
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` has another shape than the images of `{data.dataset}`, {shape_text(shape)}",
            spec.source.value("variables", variable.name, "shape"),
            found=shape_text(variable.shape),
            expected=f"`shape: [{', '.join(map(str, shape))}]`",
            notes=note,
        )
    if variable.kind == "categorical" and variable.shape[0] < known.classes:
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` has {counted(variable.shape[0], 'category')}, but `{data.dataset}` has "
            f"{counted(known.classes, 'class')}",
            spec.source.value("variables", variable.name, "size"),
            expected=f"at least {known.classes}",
            notes=note,
        )


def _sample_fits(resolved: Resolved, factor: Declared, source: Reference) -> Iterator[Diagnostic]:
    spec, variables, declared, head = resolved.spec, resolved.variables, resolved.declared, factor.factor
    span = spec.source.value(*factor.path)
    if source.bindings or head.given:
        yield Diagnostic(
            "wrong-origin",
            f"`{head}` takes a sample of `{source.owner}` as it is",
            span,
            found=f"`{source}`",
            expected=f"`{Factor(head.head, head.variables)}: {source.owner}.{source.name}`",
        )
    size = resolved.batch_size(source.owner)
    for draw, factors in declared.items():
        shares = any(other.path == factor.path for other in factors)  # the distribution, and other draws of it
        if shares and size and resolved.batch_size(draw) not in (0, size):  # 0: none is written, which has been said
            yield Diagnostic(
                "batch-mismatch",
                f"`{draw}` takes the samples of `{source.owner}` example by example, and their batches differ",
                span,
                found=f"{resolved.batch_size(draw)} and {size} examples",
                expected="equal batch sizes",
                notes=(Note("batch sizes stand here", spec.source.key("training", "batch_size")),),
            )
    drawn = [name for other in declared[source.owner] for name in other.factor.variables]
    if source.name not in drawn:
        yield Diagnostic(
            "missing-factor",
            f"`{source.owner}` draws no `{source.name}`",
            span,
            hint=did_you_mean(source.name, drawn),
        )
    elif source.name in variables and variables[source.name].shape != variables[head.variables[0]].shape:
        yield Diagnostic(
            "shape-mismatch",
            f"`{head.variables[0]}` and `{source}` have different shapes",
            span,
            found=shape_text(variables[source.name].shape),
            expected=shape_text(variables[head.variables[0]].shape),
        )


def _enumeration_fits(resolved: Resolved, factor: Declared) -> Iterator[Diagnostic]:
    """What weighs the values is there; that it can is a matter of `enumeration.py`."""
    source, spec = factor.source, resolved.spec
    if isinstance(source, Enumeration):
        yield from _row_fits(resolved, factor, source.row)
    elif isinstance(source, BayesRule) and source.distribution not in resolved.declared:
        yield Diagnostic(
            "unknown-distribution",
            f"`{source.distribution}` is not a distribution",
            spec.source.value(*factor.path, "bayes"),
            hint=did_you_mean(source.distribution, resolved.declared),
        )


def prior_origin(resolved: Resolved, declared: Declared) -> FromPrior:
    """A factor that a prior draws: the prior, its noise, the category that chooses a component of a mixture."""
    source = declared.source
    assert isinstance(source, Prior), "asked of priors alone"
    variable = resolved.variables[declared.factor.variables[0]]
    given = declared.factor.given[0] if source.kind.means is not None else ""
    name, size = f"{declared.draw}/{variable.name}", resolved.batch_size(declared.draw)
    if (
        variable.kind == "categorical"
    ):  # one uniform number, by inverse distribution function; a real one takes one each
        return FromPrior(source, Site(name, "uniform", "prior", size, ()), given)
    return FromPrior(source, Site(name, source.kind.noise, "prior", size, variable.shape), given)


def _row_fits(resolved: Resolved, factor: Declared, source: Reference) -> Iterator[Diagnostic]:
    spec, head = resolved.spec, factor.factor
    span = spec.source.value(*factor.path, *(("enumerate",) if factor.enumerated else ()))
    if source.owner not in spec.networks:
        yield Diagnostic(
            "unknown-network",
            f"`{source.owner}` is neither a network nor a distribution",
            span,
            hint=did_you_mean(source.owner, [*spec.networks, *resolved.declared]),
        )
        return
    layers = spec.networks[source.owner].layers
    if source.name not in layers:
        yield Diagnostic(
            "unknown-row", f"`{source.owner}` has no row `{source.name}`", span, hint=did_you_mean(source.name, layers)
        )
    elif source.name != head.variables[0] and not source.bindings:
        yield Diagnostic(
            "row-is-no-variable",
            f"`{head}` draws `{head.variables[0]}`, but `{source}` is another row's name",
            span,
            found=f"row `{source.name}`",
            expected=f"a row named `{head.variables[0]}`",
            hint=f"rename the row{_or_bound(spec, source, head.variables[0])}",
        )


def _or_bound(spec: Spec, source: Reference, variable: str) -> str:
    """The row in a call that binds the first name that its network reads from outside, where it reads one."""
    layers = spec.networks[source.owner].layers
    outside = next((atom.name for row in layers.values() for atom in row.names if atom.name not in layers), None)
    if outside is None:
        return ""
    alike = spec.variables[variable] == spec.variables.get(source.name)
    bound = Reference(source.owner, source.name, ((outside, outside if alike else f"{outside}_again"),))
    if alike:
        return f", or call the network for it: in `{bound}` the row is `{variable}`"
    return f", or draw it again from another variable, as in `{bound}`"


def _mixture_fits(resolved: Resolved, factor: Declared, source: Mixture) -> Iterator[Diagnostic]:
    spec, head, span = resolved.spec, factor.factor, resolved.spec.source.key(*factor.path)
    variable, *given = (resolved.variables[name] for name in (head.variables[0], *head.given))
    if variable.kind != "real" or len(given) != 1 or given[0].kind != "categorical":
        yield Diagnostic(
            "wrong-origin",
            f"`{head}` is no mixture",
            span,
            expected="a real variable given one categorical variable, as in `p(z|y)`",
        )
    elif not isinstance(source.means, RandomMeans):
        sizes = sorted({len(mean) for mean in source.means})
        if len(source.means) != given[0].shape[0] or sizes != [variable.shape[0]]:
            yield Diagnostic(
                "prior-mismatch",
                f"the means of `{head}` do not fit its variables",
                spec.source.value(*factor.path, "mixture", "means"),
                found=f"{len(source.means)} means of length {' and '.join(map(str, sizes))}",
                expected=f"{given[0].shape[0]} means of length {variable.shape[0]}",
            )


def _support_fits(spec: Spec, factor: Declared, variable: VariablePlan) -> Iterator[Diagnostic]:
    source, span = factor.source, spec.source.value(*factor.path)
    assert isinstance(source, Prior)
    categorical = variable.kind == "categorical"
    if categorical != (source.place is None):
        yield Diagnostic(
            "prior-mismatch",
            f"`{source}` is no prior of `{variable.name}`, which is of type {variable.kind}",
            span,
            expected=forms_on("categorical" if categorical else "real"),
        )
    elif source.kind.counts_labels:
        yield from _labels_are_counted(spec, factor, variable)
    elif isinstance(source, Probabilities):
        total = sum(source.values)
        if len(source.values) != variable.shape[0] or abs(total - 1) > 1e-6:
            yield Diagnostic(
                "prior-mismatch",
                f"the probabilities of `{variable.name}` do not fit it",
                span,
                found=f"{len(source.values)} numbers with sum {total:.6g}",
                expected=f"{variable.shape[0]} numbers with sum 1",
            )


def _labels_are_counted(spec: Spec, factor: Declared, variable: VariablePlan) -> Iterator[Diagnostic]:
    """One data set has labelled examples, whose classes the prior counts."""
    labeled, span = (
        [name for name, data in spec.data_sets.items() if data.labeled is not None],
        spec.source.value(*factor.path),
    )
    if not labeled:
        yield Diagnostic(
            "no-labels",
            f"`{factor.source}` counts the classes of the labelled examples, and none are declared",
            span,
            expected="`labeled: {count: N}` in `data`",
            notes=(Note("`data` stands here", spec.source.key("data")),),
        )
    elif len(labeled) > 1:
        yield Diagnostic(
            "prior-mismatch",
            f"`{factor.source}` counts the labelled examples of one data set, and several have some",
            span,
            found=" and ".join(f"`data.{name}.labeled`" for name in labeled),
            expected="probabilities that are written, `[0.2, 0.8]`, or one data set with `labeled`",
        )
    else:
        yield from _data_shape_fits(spec, variable, labeled[0])

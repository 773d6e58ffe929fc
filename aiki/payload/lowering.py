"""Own the lowering of values: from an annotation's description, a function that checks a value and makes it plain.

A lowered value consists of dicts with text keys, lists, and scalars that msgspec encodes as they are. With `c1` members
that equal their default are left out, nested too, and floats are those of form c1. Lowering happens in Python, so what
costs is avoided: a value of the expected exact class is not looked at, a list of scalars is checked by msgspec in C.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, get_origin

import msgspec
import msgspec.inspect as mi

from aiki.core.canonical import json_value
from aiki.core.misfit import Misfit
from aiki.payload import containers, models, scalars
from aiki.payload.annotations import Refused, tree
from aiki.payload.containers import Member
from aiki.payload.defaults import IsDefault, default_test, same_form
from aiki.payload.fragile import is_fragile
from aiki.payload.scalars import PLAIN, SCALARS, Lower, is_constrained

ObjectNode: TypeAlias = mi.StructType | mi.DataclassType | mi.NamedTupleType

C_CHECKED: Final = (mi.StrType, mi.IntType, mi.BoolType, mi.NoneType)
_NO_DEFAULT: Final = msgspec.NODEFAULT


class Lowering(NamedTuple):
    """What is known of an annotation: both lowerings, and the class whose own instances need none, if there is one.

    The lowerings are one function where the two forms cannot differ.

    What is `fragile` may become another value when it is read, so that its encoder has to look.
    """

    node: mi.Type
    whole: Lower
    c1: Lower
    exact: type | None
    fragile: bool


def lowering(annotation: Any, *, exact: bool = False) -> Lowering:
    """Return how values of the annotation are lowered; the functions raise Misfit.

    With `exact` an instance of a subclass is refused where its plain value would be stored. Raises Refused if such
    values cannot be stored, Unresolved if the annotation names what is not defined.
    """
    try:
        return _remembered(annotation, exact)
    except TypeError:  # an annotation that cannot be hashed
        return _lowering(annotation, exact)


@lru_cache(maxsize=1024)
def _remembered(annotation: Any, exact: bool) -> Lowering:
    # Many tasks share few types, and reading a type takes longer than encoding a thousand of its values.
    return _lowering(annotation, exact)


def _lowering(annotation: Any, exact: bool) -> Lowering:
    node = tree(annotation)
    whole = _Compiler(c1=False, exact=exact).lower(node)
    compiler = _Compiler(c1=True, exact=exact)
    c1 = compiler.lower(node)
    return Lowering(node, whole, c1 if compiler.differs else whole, _exact_class(node), is_fragile(node))


def _exact_class(node: mi.Type) -> type | None:
    return None if is_constrained(node) else PLAIN.get(type(node))


class _Compiler:
    """Turns descriptions into functions, each described object once, so that recursive types end."""

    def __init__(self, *, c1: bool, exact: bool) -> None:
        self.c1 = c1
        self.exact = exact
        self.differs = False
        """Whether it has come to anything that form c1 has otherwise: floats, defaults, JSON, models."""
        self.made: dict[int, tuple[mi.Type, Lower]] = {}

    def lower(self, node: mi.Type) -> Lower:
        match node:
            case mi.Metadata():
                return self.lower(node.type)
            case mi.AnyType():
                return self._json()
            case mi.UnionType():
                return self._union(node)
            case mi.TypedDictType() | mi.StructType() | mi.DataclassType() | mi.NamedTupleType():
                return self._shared(node)
            case mi.CustomType():
                return self._model(node.cls)
            case _ if type(node) in SCALARS:
                return self._scalar(node)
            case _:
                return self._container(node)

    def _container(self, node: mi.Type) -> Lower:
        match node:
            case mi.ListType() | mi.VarTupleType():
                return self._list(node)
            case mi.TupleType():
                return containers.fixed_tuple([self.lower(item) for item in node.item_types], exact=self.exact)
            case mi.DictType():
                return self._dict(node)
            case mi.EnumType():
                return scalars.member_of(node.cls)
            case mi.LiteralType():
                return scalars.literal(node, exact=self.exact)
            case mi.SetType() | mi.FrozenSetType():
                raise Refused("a set has no order, so it cannot be stored and replayed: use a list")
            case _:
                raise Refused(f"{type(node).__name__.removesuffix('Type')} is no type that Aiki stores")

    def _json(self) -> Lower:
        self.differs = True
        c1, exact = self.c1, self.exact
        return lambda value: json_value(value, c1=c1, exact=exact)

    def _scalar(self, node: mi.Type) -> Lower:
        exact = self.exact
        match node:
            case mi.IntType():
                lower: Lower = scalars.integer(exact=exact)
            case mi.FloatType():
                self.differs = True
                lower = scalars.real(c1=self.c1, exact=exact)
            case mi.DecimalType():
                lower = scalars.decimal(exact=exact)
            case mi.DateTimeType() | mi.TimeType():
                lower = scalars.clock(SCALARS[type(node)], exact=exact)
            case mi.DateType():
                lower = scalars.date(exact=exact)
            case _:
                lower = scalars.instance_of(SCALARS[type(node)], exact=exact)
        return scalars.constrained(node, lower) if is_constrained(node) else lower

    def _list(self, node: mi.ListType | mi.VarTupleType) -> Lower:
        kind = list if isinstance(node, mi.ListType) else tuple
        item = node.item_type
        lower = containers.each(self.lower(item), kind, exact=self.exact)
        if isinstance(item, C_CHECKED):
            check = scalars.converted(node) if is_constrained(item) else None
            lower = containers.plain_items(SCALARS[type(item)], kind, check, lower, exact=self.exact)
        return scalars.constrained(node, lower) if is_constrained(node) else lower

    def _dict(self, node: mi.DictType) -> Lower:
        _refuse_keys(node.key_type)
        if type(node.key_type) is mi.AnyType:
            lower_key: Lower = scalars.instance_of(str, exact=self.exact)
        else:
            lower_key = self.lower(node.key_type)
        of_values = _exact_class(node.value_type)
        return containers.mapping(lower_key, self.lower(node.value_type), of_values, exact=self.exact)

    def _shared(self, node: ObjectNode | mi.TypedDictType) -> Lower:
        if id(node) in self.made:
            return self.made[id(node)][1]
        if hasattr(node.cls, "__pydantic_validator__"):
            # msgspec would set its fields itself, without pydantic, and leave defaults as pydantic's own objects.
            raise Refused(f"{node.cls.__qualname__} is a pydantic dataclass: use a pydantic model or a plain dataclass")
        # A recursive type asks for itself while its members are being made: it gets this, and they are filled in below.
        members: list[Member] = []
        cls = get_origin(node.cls) or node.cls
        if isinstance(node, mi.TypedDictType):
            lower = containers.typed_dict(cls, members, exact=self.exact)
        elif isinstance(node, mi.NamedTupleType) or (isinstance(node, mi.StructType) and node.array_like):
            lower = containers.array_of(cls, getattr(node, "tag", None), members)
        else:
            lower = containers.object_of(cls, _tag(node), members)
        self.made[id(node)] = (node, lower)
        members.extend(self._member(cls, field) for field in node.fields)
        return lower

    def _member(self, cls: type, field: mi.Field) -> "Member":
        try:
            lower = self.lower(field.type)
            is_default = self._default(field, lower) if self.c1 and not field.required else None
        except Refused as refused:
            raise Refused(f"field `{field.name}` of {cls.__qualname__}: {refused}") from None
        self.differs = self.differs or not field.required
        return Member(field.name, field.encode_name, field.required, _exact_class(field.type), lower, is_default)

    def _default(self, field: mi.Field, lower: Lower) -> IsDefault | None:
        if field.default is msgspec.UNSET:
            return None
        if field.default is not _NO_DEFAULT:
            try:
                return default_test(field.type, lower, field.default)
            except Misfit as misfit:
                raise Refused(f"its default does not fit its annotation: {misfit.reason}") from None
        if field.default_factory is not _NO_DEFAULT:
            return same_form(lower, field.default_factory)
        return None

    def _union(self, node: mi.UnionType) -> Lower:
        lowers: dict[type, Lower] = {}
        for member in node.types:
            lower = self.lower(member)
            if isinstance(member, mi.AnyType):
                return lower
            for kind in _classes(member):
                lowers.setdefault(kind, lower)
        if float in lowers and int not in lowers:
            lowers[int] = lowers[float]
        return containers.one_of(lowers)

    def _model(self, cls: Any) -> Lower:
        self.differs = True
        c1 = self.c1
        if models.is_model(cls):
            models.refuse_sets(cls)
            respelled = models.is_respelled(cls)
            return containers.checked(cls, lambda value: models.dump(value, c1=c1, respelled=respelled))
        if cls is object:
            raise Refused("`object` says nothing about the value: write its type, or aiki.Json")
        name = getattr(cls, "__qualname__", str(cls))
        if name in ("Callable", "Coroutine", "Awaitable", "FunctionType"):
            raise Refused("a function cannot be stored: pass data, and call the function inside the task")
        raise Refused(f"{name} is no type that Aiki stores: use a dataclass, a msgspec.Struct or a pydantic model")


def _refuse_keys(node: mi.Type) -> None:
    """Refuse what JSON's text cannot be read as again."""
    match node:
        case mi.Metadata():
            _refuse_keys(node.type)
        case mi.FloatType():
            raise Refused("a dict with float keys cannot be stored: use text or integers")
        case mi.BoolType() | mi.NoneType() | mi.ByteArrayType() | mi.TupleType() | mi.VarTupleType() | mi.ListType():
            raise Refused("a dict with such keys cannot be stored, JSON has text alone: use a list of pairs")
        case _:
            pass


def _classes(node: mi.Type) -> Iterable[type]:
    """Return the classes whose instances are values of the type."""
    match node:
        case mi.Metadata():
            return _classes(node.type)
        case mi.ListType() | mi.VarTupleType() | mi.TupleType():
            return (list, tuple)
        case mi.DictType() | mi.TypedDictType():
            return (dict,)
        case mi.LiteralType():
            return {type(value) for value in node.values}
        case mi.StructType() | mi.DataclassType() | mi.NamedTupleType() | mi.EnumType() | mi.CustomType():
            return (get_origin(node.cls) or node.cls,)
        case _:
            return (SCALARS[type(node)],)


def _tag(node: mi.Type) -> dict[str, Any]:
    if isinstance(node, mi.StructType) and node.tag_field is not None:
        return {node.tag_field: node.tag}
    return {}

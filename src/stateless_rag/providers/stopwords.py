"""Words that name nothing: small sets of function words, and what German nouns end in."""

from __future__ import annotations

__all__ = [
    "CHINESE_FUNCTION",
    "CHINESE_WHOLE",
    "COMMON_STARTS",
    "ENGLISH",
    "ENGLISH_FIRST",
    "FUNCTION_WORDS",
    "GERMAN",
    "GERMAN_FIRST",
    "GERMAN_NOUN_ENDINGS",
    "GERMAN_ONLY",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    """
    a an the this that these those it its he him his she her hers they them their theirs we us our ours
    you your yours i me my mine who whom whose which what when where why how if then than as at by for
    from in into of off on onto out over to under up with without within about above across after
    against along among around before behind below beneath beside besides between beyond during except
    inside near since through throughout till toward towards until upon via and or nor but so yet not no
    nor is are was were be been being am do does did done has have had having can could would should
    shall might must will may there here also only just very too more most much many some any each every
    both either neither all few several such other another same own one two first last while although
    though because however therefore thus hence moreover meanwhile instead later soon once again still
    even ever never always often sometimes usually already now today many like unlike per himself
    herself itself themselves according
    """
)
# German words after which a noun without article may be a name: prepositions, verbs of being, conjunctions.
GERMAN = _words(
    """
    in nach von aus mit bei zu für gegen durch um ohne bis seit ab über unter vor zwischen an auf und
    oder sowie als wie ist war wird wurde hat hatte heißt hieß genannt namens dass wenn weil während
    laut sagte schrieb
    """
)
_GERMAN_OTHER = _words(
    """
    der die das den dem des ein eine einen einem einer eines kein keine keinen keiner er sie es wir ihr
    ihre ihren ihrem ihrer sein seine seinen seinem seiner ich du man sich nicht auch nur noch schon
    sehr mehr im am zum zur vom beim ins ans dieser diese dieses diesem diesen jener jene jenes welche
    welcher welches was wer wo wann warum wie werden worden sind waren sein haben hatten kann können
    konnte soll sollte muss müssen darf aber denn doch dann da dort hier so damit dabei dazu daher
    jedoch zwar sowohl alle allem allen aller alles viele vielen einige andere anderen erste ersten zwei
    drei später heute dadurch außerdem zudem obwohl ob bereits etwa rund wurden wird wer wessen wem wen
    welchem welchen
    """
)
_ROMANCE = _words(
    """
    le la les un une des du et est dans pour que qui el los las una y en con por il lo gli per che non
    si sur
    """
)
FUNCTION_WORDS = ENGLISH | GERMAN | _GERMAN_OTHER | _ROMANCE
# Function words that are not part of the name they stand before.
ENGLISH_FIRST = ENGLISH - frozenset(("all", "first", "last", "many", "one", "same", "two"))
GERMAN_FIRST = GERMAN | _GERMAN_OTHER
GERMAN_ONLY = (GERMAN | _GERMAN_OTHER) - ENGLISH - frozenset(("die", "war", "hat", "so", "da", "am"))
# Capitalised at the start of a sentence or in headings, but no names when they stand alone.
COMMON_STARTS = FUNCTION_WORDS | _words(
    """
    born died released written directed produced founded located based set named called known made built
    published developed formed created people life early career history music album film song book
    series team game season year years day days time world city town village church school family father
    mother son daughter wife brother sister president king queen prince government university group
    company member members references external links see note notes overview introduction summary
    background plot cast production reception january february march april may june july august
    september october november december monday tuesday wednesday thursday friday saturday sunday
    originally currently critics new old great three four five six seven eight nine ten hundreds
    thousands most part half although chapter section table figure mr mrs dr jahr jahre zeit mensch
    menschen leben werk teil ende anfang beispiel kapitel abschnitt mal tag tage januar februar märz mai
    juni juli oktober dezember say tell give name list explain describe compare show find
    """
)
GERMAN_NOUN_ENDINGS = (
    "ung", "ungen", "heit", "heiten", "keit", "keiten", "schaft", "schaften", "tion", "tionen", "tät", "täten",
    "ismus", "chen", "lein", "nis", "nisse", "tum", "ling", "enz", "anz", "ik", "eur", "ment", "sal",
)  # fmt: skip
# Characters and words of Chinese that stand between names: particles, prepositions, conjunctions, pronouns,
# common verbs.
CHINESE_FUNCTION = _words(
    """
    的 了 是 在 和 与 及 或 对 从 到 由 被 把 将 于 以 为 而 但 也 都 就 还 很 更 最 其 这 那 有 之 并 且 则 所 着
    让 它 他 她 我 你 们 吗 呢 吧 啊 么 不 没 说 叫 跟 给 写 曾 哪 谁 几 什么 怎么 怎样 如何 为什么 哪里 哪个 哪些
    多少 何时 何地 是否 一个 一种 一些 一位 这个 那个 我们 他们 她们 它们 以及 因为 所以 但是 如果 虽然 然而
    因此 由于 通过 根据 关于 包括 成为 称为 认为 位于 属于 来自 作为 可以 能够 需要 已经 开始 进行 使用 采用 用于
    提出 发明 发现 设计 创立 创办 创建 成立 建立 出生 去世 毕业 担任 获得 发表 出版 撰写 编写 著名 第一 第二 其中
    同时 之后 之前 以后 以前 后来 当时 现在 目前 曾经 主要 非常 许多 很多 没有 不是 就是 也是 还是 之一 起来
    工作 合作 介绍 说明 请问 告诉
    """
)
# Words that a function character would cut apart.
CHINESE_WHOLE = _words(
    """
    共和国 共和党 和平 研究所 交易所 事务所 场所 厕所 有限公司 有限 首都 成都 京都 自由 将军 小说 成就 存在
    以色列 不列颠 不丹 土耳其 行为 对象 对称 从事 目的 目标 因为 到达 的士 了解 是非 在线 在野 参与 与会 普及 埃及
    由来 理由 把握 被子 以太 以太网 以太坊 为主 而且 最高法院 就业 还原 其他 不同 特别 之家 并行 并发 规则 原则
    法则 沉着 叫做 给予 写作 几何 几内亚 有机 有色 所长 厂长
    """
)

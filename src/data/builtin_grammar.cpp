#include "builtin_grammar.h"

#include "builtin_words.h"

namespace xinslm {
namespace {

// h is the hero, f the friend; their kinds hk and fk decide which names fit, the names which pronouns.
constexpr const char* kStories = R"(
rule start
  5 Once upon a time there was {hero}
  3 Long ago there lived {hero}
  2 Not so long ago there was {hero}

rule hero
  1 <t=trait>[t.a] <hk=kind>[hk.word] named <h=name.[hk.group]>[h.name]. {home}

rule home
  3 [^h.he] lived <p=home>[p.where]. {meet}
  2 [h.name] had a home <p=home>[p.where]. {meet}

rule meet
  4 [^h.his] best friend was <fk=kind>[fk.a] called <f=name.[fk.group]!h>[f.name]. {plot}
  2 Next door lived <fk=kind>[fk.a] whose name was <f=name.[fk.group]!h>[f.name]. {plot}

rule plot
  5 {lost}
  4 {broken}
  4 {wish}
  4 {rescue}
  3 {cooking}
  3 {outing}
  3 {quarrel}

rule lost
  3 [h.name] had <c=colour>[c.a] <x=toy>[x.word] and liked to [x.verb] it <q=place>[q.at].\n{lost.search}
  2 [^h.he] never went out without [h.his] <c=colour>[c.word] <x=clothing>[x.word].\n{lost.search}

rule lost.search
  1 <d=time>[d.when], the [c.word] [x.word] was gone. [h.name] felt <s=sad>[s.word]. {search.first}

rule search.first
  3 [^h.he] looked <a=spot>[a.where], but it was not there. {search.second}
  2 First [h.he] searched <a=spot>[a.where], but found only (5:dust|3:a button|2:an old coin|1:a sleepy spider). {search.second}

rule search.second
  3 Then [h.he] asked [f.name] for help. {search.friend}
  2 Then [h.he] looked <b=spot!a>[b.where]. It was not there either. So [h.he] called [f.name]. {search.friend}

rule search.friend
  2 "When did you last see your [x.word]?" asked [f.name]. "Yesterday," said [h.name].\n{search.found}
  2 "Do not be [s.word]," said [f.name]. "We will find your [x.word] together."\n{search.found}
  1 [f.name] (2:thought for a while|1:scratched [f.his] head).\n{search.found}

rule search.found
  3 They went on looking, and at last [f.name] found the [c.word] [x.word] <e=spot!a,b>[e.where]. {thanks}
  2 Just before dark, [h.name] saw something [c.word] <e=spot!a,b>[e.where]. It was the [x.word]! {thanks}

rule thanks
  3 "Thank you, [f.name]!" said [h.name].\n{feeling}
  2 [h.name] hugged [f.name] and thanked [f.him].\n{feeling}
  1 [h.name] gave [f.name] <g=gift>[g.word] to say thank you.\n{feeling}

rule broken
  1 [h.name]'s <e=elder>[e.word] had given [h.him] <c=colour>[c.a] <x=toy>[x.word].\n{broken.day}

rule broken.day
  1 <d=time>[d.when], [h.name] and [f.name] wanted to [x.verb] it <q=place>[q.at]. {broken.how}

rule broken.how
  3 But [f.name] (3:slipped|2:stumbled|1:sneezed) and dropped it, and the [x.part] broke. {broken.guilt}
  2 But [h.name] pulled too hard, and the [x.part] came off. {broken.own}
  1 But it fell on a stone, and the [x.part] cracked. {broken.own}

rule broken.guilt
  2 "I am so sorry," said [f.name]. [^f.he] was <s=sad>[s.word]. "It was an accident," said [h.name].\n{broken.fix}
  1 At first [h.name] was (2:angry|1:cross). Then [h.he] saw that [f.name] was <s=sad>[s.word] and took [f.his] hand.\n{broken.fix}

rule broken.own
  1 [h.name] was <s=sad>[s.word]. "Do not cry," said [f.name]. "We can mend it."\n{broken.fix}

rule broken.fix
  3 They took the [x.word] to [h.his] [e.word]. [^e.he] looked at the [x.part] and fetched some <w=tool>[w.word]. {broken.end}
  2 [f.name] had some <w=tool>[w.word] at home, and [h.his] [e.word] showed them what to do. {broken.end}

rule broken.end
  3 With the [w.word] they mended the [x.part], and soon the [c.word] [x.word] was as good as new.\n{feeling}
  1 It took a long time, but the [w.word] held, and they could [x.verb] the [x.word] again.\n{feeling}

rule wish
  1 <d=time>[d.when], [h.name] saw <c=colour>[c.a] <x=toy>[x.word] in a shop window. {wish.price}

rule wish.price
  3 [^h.he] wanted it very much, but [h.he] had no money. {wish.ask}
  2 "How I would love to [x.verb] it!" [h.he] said, but it cost (4:five|3:six|2:eight|1:ten) coins. {wish.ask}

rule wish.ask
  3 [h.name] told [f.name] about the [x.word]. "You could work for <l=lender>[l.the]," said [f.name].\n{wish.work}
  2 So [h.he] went to <l=lender>[l.the] and asked for work.\n{wish.work}

rule wish.work
  1 [^l.the] said that [h.name] could <j=job>[j.task]. For <n=days>[n.word] [h.he] [j.done], (3:and [f.name] helped|2:even in the rain|1:and never complained). {wish.pay}

rule wish.pay
  3 Then [l.the] paid [h.him], and [h.name] ran to the shop and bought the [c.word] [x.word]. {wish.share}
  1 Then [l.the] smiled. [^l.he] had bought the [c.word] [x.word] for [h.him] as a surprise. {wish.share}

rule wish.share
  2 [^h.he] let [f.name] [x.verb] it first.\n{feeling}
  2 From then on [h.he] and [f.name] went out to [x.verb] it every day.\n{feeling}

rule rescue
  1 <d=time>[d.when], [h.name] was walking <q=place>[q.at] when [h.he] heard a (4:cry|2:whisper|2:shout). It was [f.name], who <u=trouble>[u.what]. {rescue.plan}

rule rescue.plan
  3 "Please help me!" called [f.name]. "Wait," said [h.name]. "I will get a [u.need]." {rescue.lender}
  1 [h.name] knew at once that [h.he] needed a [u.need]. {rescue.lender}

rule rescue.lender
  3 [^h.he] ran to <l=lender>[l.the] and borrowed one.\n{rescue.done}
  2 Luckily [h.his] <e=elder>[e.word] had one at home.\n{rescue.done}
  1 There was one <a=spot>[a.where], and [h.he] fetched it.\n{rescue.done}

rule rescue.done
  2 With the [u.need] it was easy, and soon [f.name] was safe. {rescue.thanks}
  1 It was hard work, but the [u.need] helped, and [f.name] was safe at last. {rescue.thanks}

rule rescue.thanks
  2 "You are a true friend," said [f.name]. {rescue.gift}
  1 [f.name] (2:laughed|1:cried) with joy. {rescue.gift}

rule rescue.gift
  2 The next day [f.he] brought [h.name] <g=gift>[g.word].\n{feeling}
  1 Together they carried the [u.need] back.\n{feeling}

rule cooking
  1 <d=time>[d.when], [h.name] wanted to <m=food>[m.verb] [m.word] for [h.his] <e=elder>[e.word]. {cooking.missing}

rule cooking.missing
  2 Everything was ready, but there (1:was|1:were) no [m.main] in the kitchen. {cooking.lender}
  1 "Oh no," said [f.name], "we have no [m.main]!" {cooking.lender}

rule cooking.lender
  3 So they went to <l=lender>[l.the]. "I have some [m.main]," [l.he] said, "if you <j=job>[j.task]." {cooking.job}
  1 [f.name] remembered that <l=lender>[l.the] had [m.main] and ran to ask [l.him].\n{cooking.back}

rule cooking.job
  1 They [j.done] and ran home with the [m.main].\n{cooking.back}

rule cooking.back
  2 Soon the [m.word] smelled wonderful. [^h.his] [e.word] ate (3:two|2:three|1:four) plates of it.\n{feeling}
  1 The [m.word] burned a little, but [h.his] [e.word] said that nothing had ever tasted better.\n{feeling}

rule outing
  1 <d=time>[d.when], [h.name] and [f.name] planned to go to <q=place>[q.the] and <o=outing>[o.to]. {outing.weather}

rule outing.weather
  2 They packed <m=food>[m.word] and <c=colour>[c.a] <x=clothing>[x.word]. {outing.change}
  1 [f.name] could hardly wait. {outing.change}

rule outing.change
  3 But then it began to <r=weather>[r.verb]. "What a pity," said [h.name], who was <s=sad>[s.word]. {outing.indoor}
  2 The sun was shining, and nobody was at [q.the] but them. {outing.sun}

rule outing.indoor
  2 "The [r.noun] will not stop us," said [f.name]. So they stayed at home and <i=indoor>[i.doing]. {outing.end}
  1 All day long they listened to the [r.noun] and <i=indoor>[i.doing]. {outing.end}

rule outing.sun
  2 They could [o.to] until the (3:evening|2:sun went down|1:first stars came out). {outing.end}
  1 There they met <k=kind>[k.a] who wanted to [o.to] too, and so they were three. {outing.end}

rule outing.end
  2 "Tomorrow we will do it again," said [h.name].\n{feeling}
  1 It was the best day of the (3:week|2:month|1:year).\n{feeling}

rule quarrel
  1 <d=time>[d.when], [h.name] and [f.name] found <c=colour>[c.a] <x=toy>[x.word] <q=place>[q.at]. {quarrel.words}

rule quarrel.words
  2 "It is mine!" cried [h.name]. "No, I saw it first!" cried [f.name]. {quarrel.pull}
  1 Both of them wanted to [x.verb] it, and neither would wait. {quarrel.pull}

rule quarrel.pull
  2 They pulled at the [x.word] until the [x.part] nearly broke.\n{quarrel.wise}
  1 In the end [f.name] went home and would not say a word.\n{quarrel.wise}

rule quarrel.wise
  2 Then <l=lender>[l.the] came by. "Why not take turns?" [l.he] asked. {quarrel.turns}
  2 [h.name] asked [h.his] <l=elder>[l.word]. "A [x.word] is more fun for two," [l.he] said. {quarrel.turns}

rule quarrel.turns
  2 So [h.name] said sorry and let [f.name] [x.verb] the [c.word] [x.word] until (3:noon|2:supper|1:the bells rang).\n{feeling}
  1 So [f.name] came back with <g=gift>[g.word] and said sorry, and they took turns.\n{feeling}

rule feeling
  3 That night [h.name] was <z=happy>[z.word]. {moral}
  2 Both friends were <z=happy>[z.word]. {moral}
  1 [h.name] went home feeling <z=happy>[z.word]. {moral}

rule moral
  3 And everyone [p.near] (2:agreed|1:said) that there was never a more [t.word] [hk.word] than [h.name].
  2 [h.name] knew now that with a friend like [f.name] nothing is too hard.
  1 Even [t.a] [hk.word] needs a friend, and [h.name] had found one in [f.name].
)";

}  // namespace

std::string builtin_grammar() {
  std::string grammar = kBuiltinWords;
  grammar += kStories;
  return grammar;
}

}  // namespace xinslm

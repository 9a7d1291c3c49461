"""What every noun does."""

from personaagent.data.persona import Persona, PersonaLine


def test_a_copy_computes_anew_what_depends_on_its_fields() -> None:
    before = Persona(lines=(PersonaLine(section="style", text="Be brief."),))
    assert "Be brief." in before.text and before.fingerprint
    after = before.model_copy(update={"lines": ()})
    assert "Be brief." not in after.text
    assert after.fingerprint == Persona().fingerprint != before.fingerprint

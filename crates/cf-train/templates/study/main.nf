// The study "{{ name }}". On this machine, and on a Slurm cluster (profiles are in nextflow.config beside this file):
//
//   nextflow run main.nf
//   nextflow run main.nf -profile slurm
//
// Every task keeps its results in the study's own tasks/, so running it again does nothing, with or without -resume.
nextflow.enable.dsl = 2

params.cf_train = {{ program }}
params.study = {{ study }}

// One or several tasks, one after another. Memory and time are those that the plan asks for, with a margin.
process tasks {
    tag "${index}"
    cpus {{ cpus }}
    memory "${memory_mib} MB"
    time "${minutes} min"
{%- if gpu %}
    accelerator 1
{%- endif %}
    // 75 is temporary, and above 128 a signal ended it: it saved its last epoch and goes on from there. Anything else stays as it is.
    errorStrategy { task.exitStatus == 75 || task.exitStatus > 128 ? 'retry' : 'ignore' }
    maxRetries 5

    input:
    tuple val(index), val(memory_mib), val(minutes)

    output:
    val index

    script:
    """
    '${params.cf_train}' study run '${params.study}' --index '${index}' --threads ${task.cpus}{% if gpu %} --device cuda:0{% endif %}
    """
}

process collect {
    input:
    val finished

    script:
    """
    '${params.cf_train}' study collect '${params.study}' --complete
    """
}

workflow {
    plan = new groovy.json.JsonSlurper().parse(file("${params.study}/plan.json").toFile())
    jobs = channel.fromList(plan.jobs.collect { job -> [job.index, job.memory_mib, job.minutes] })
    tasks(jobs)
    collect(tasks.out.collect())
}
